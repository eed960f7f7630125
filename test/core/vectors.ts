import { readFileSync } from 'node:fs'

/**
 * The test vectors of one kind in a page of docs/: the lines of each block that is fenced as `vectors
 * <kind>`.
 */
export function vectorsOf(page: string, kind: string): string[][] {
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8')
  const blocks = [...text.matchAll(/```vectors (\w+)\n([\s\S]*?)\n```/g)]
  const found = blocks.filter(block => block[1] === kind).map(block => (block[2] ?? '').split('\n'))
  if (found.length === 0) throw new Error(`docs/${page} has no vectors of kind ${kind}`)
  return found
}
