/** What is undone at the end, last first: the laboratory's `Undoing` where there is no test. */
export class UndoList {
  readonly #undo: (() => unknown)[] = []

  teardown(undo: () => unknown): void {
    this.#undo.push(undo)
  }

  async undoAll(): Promise<void> {
    for (const one of this.#undo.splice(0).toReversed()) await one()
  }
}
