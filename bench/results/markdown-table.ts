import type { Quantity } from '../figures.ts'

export const quantityTexts: Readonly<Record<Quantity, string>> = {
  rate: 'rate', p50: 'p50', p99: 'p99', cpu: 'CPU per request'
}

/** A table in Markdown, and the empty line after it. All columns but the first are numbers. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const lineOf = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  const rule = head.map((_, index) => index === 0 ? '---' : '---:')
  return [lineOf(head), lineOf(rule), ...rows.map(lineOf), '']
}
