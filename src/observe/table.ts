export type Align = 'left' | 'right'

/** How {@link renderTable} lays its rows out. */
export interface TableOptions {
  /** One per column; `left` for a column without one. */
  readonly align?: readonly Align[]
  /** Put before every line. */
  readonly indent?: string
  /** Between two columns; two spaces by default. */
  readonly gap?: string
}

/**
 * Rows of text as lines with aligned columns and no space at their ends. A short row leaves its last columns
 * empty. Widths count code points, so plain text lines up; escape sequences for colour must not be in the
 * cells.
 */
export function renderTable(rows: readonly (readonly string[])[], options: TableOptions = {}): string[] {
  const widths = columnWidths(rows)
  const { align = [], indent = '', gap = '  ' } = options
  return rows.map(row => {
    const cells = row.map((cell, column) => pad(cell, widths[column] ?? 0, align[column] ?? 'left'))
    return (indent + cells.join(gap)).trimEnd()
  })
}

function columnWidths(rows: readonly (readonly string[])[]): number[] {
  const widths: number[] = []
  for (const row of rows) {
    for (const [column, cell] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, width(cell))
  }
  return widths
}

function pad(cell: string, to: number, align: Align): string {
  const space = ' '.repeat(Math.max(0, to - width(cell)))
  return align === 'left' ? cell + space : space + cell
}

function width(cell: string): number {
  return Array.from(cell).length
}
