/** One line of a process's log (docs/LOGS.md). */
export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string }

/** A line as it was logged; undefined for anything else that a process may say. */
export function parseLogLine(text: string): LogLine | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && 'event' in value && typeof value.event === 'string'
      ? value as LogLine : undefined
  } catch {
    return undefined
  }
}
