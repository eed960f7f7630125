import { faint, picture, text } from './svg.ts'

const head = 62

/** How a picture of panels is headed and laid out. */
export interface Panels {
  /** What a reader hears who does not see it; `verdict` follows it in the heading. */
  readonly title: string
  readonly verdict: string
  readonly note: string
  readonly columns: number
  readonly width: number
  readonly height: number
}

/** A panel for each of `items`, row by row. */
export function panelled<T>(
  panels: Panels, items: readonly T[], draw: (item: T, left: number, top: number) => readonly string[]
): string {
  const { title, verdict, note, columns, width, height } = panels
  const rows = Math.ceil(items.length / columns)
  return picture(columns * width, head + rows * height, title, [
    text(16, 26, `${title}: ${verdict}`, { size: 17, bold: true }),
    text(16, 46, note, { colour: faint }),
    ...items.flatMap((item, index) =>
      draw(item, (index % columns) * width, head + Math.floor(index / columns) * height))
  ])
}
