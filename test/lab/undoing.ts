/** What the laboratory needs of who makes one, as a test does: to have all undone at the end, last first. */
export interface Undoing {
  teardown(undo: () => unknown): void
}
