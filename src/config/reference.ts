import { keysOf, type ConfigKind } from './load.ts'

/** Every key of one kind of file as a Markdown table: docs/CONFIGURATION.md holds it word for word. */
export function referenceTable(kind: ConfigKind): string {
  const rows = keysOf(kind).map(({ path, label, fallback, doc }) =>
    `| \`${path}\` | ${label.replaceAll('|', '\\|')} | ${fallback} | ${doc} |`)
  return ['| key | value | default | meaning |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
