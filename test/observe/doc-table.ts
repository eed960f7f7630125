import { readFileSync } from 'node:fs'

/** A document of docs/. */
export function readDoc(name: string): string {
  return readFileSync(new URL(`../../docs/${name}`, import.meta.url), 'utf8')
}

/** The rows of every table whose header is `header`. A bar inside a cell is written `\|` in the document. */
export function tableRows(doc: string, header: readonly string[]): string[][] {
  const rows: string[][] = []
  let inside = false
  for (const line of doc.split('\n')) {
    const cells = line.startsWith('|') ? cellsOf(line) : undefined
    if (cells === undefined) inside = false
    else if (cells.join('|') === header.join('|')) inside = true
    else if (inside && !/^-+$/.test(cells[0] ?? '')) rows.push(cells)
  }
  return rows
}

/** The words in backticks of a cell, in their order. */
export function codeWords(cell: string): string[] {
  return Array.from(cell.matchAll(/`([^`]+)`/g), match => match[1] ?? '')
}

function cellsOf(line: string): string[] {
  const inner = line.slice(1, line.lastIndexOf('|'))
  return inner.split(/(?<!\\)\|/).map(cell => cell.trim().replaceAll('\\|', '|'))
}
