/*
 * As much of SVG as the charts need. All are drawn on white, so that they look the same on dark pages, and
 * with whatever plain typeface the reader has. Coordinates are rounded to tenths of a pixel.
 */

export const ink = '#1f2328'
export const faint = '#6e7781'
const gridColour = '#e4e7eb'

const colours: Readonly<Record<string, string>> = {
  direct: '#9aa4af', haproxy: '#4b5563', 'haproxy 64K': '#6b7280', 'haproxy 128K': '#7b8391',
  'haproxy 256K': '#8b93a1', 'nginx stream': '#b4bcc6', 'tailgate plain': '#1a73e8',
  'tailgate immediate': '#7a5af5', 'tailgate epoch': '#d9480f', 'tailgate epoch disk': '#9a5b23',
  epoch: '#d9480f', checkpoint: '#5b6472'
}

/** Peers are grey, Tailgate is coloured; a contender looks the same in all charts. */
export function colourOf(name: string): string {
  return colours[name] ?? (name.startsWith('tailgate') ? '#0f8a6d' : '#c3c9d0')
}

export function at(value: number): string {
  if (!Number.isFinite(value)) throw new RangeError(`nothing can be drawn at ${value}`)
  return String(Math.round(value * 10) / 10)
}

export interface TextStyle {
  readonly size?: number
  readonly colour?: string
  readonly anchor?: 'start' | 'middle' | 'end'
  readonly bold?: boolean
}

export function text(x: number, y: number, said: string, style: TextStyle = {}): string {
  const { size = 13, colour = ink, anchor = 'start', bold = false } = style
  const weight = bold ? ' font-weight="600"' : ''
  const place = `x="${at(x)}" y="${at(y)}" font-size="${size}" fill="${colour}"`
  return `<text ${place} text-anchor="${anchor}"${weight}>${escaped(said)}</text>`
}

export interface LineStyle {
  readonly colour?: string
  readonly width?: number
  readonly dashed?: boolean
}

export function line(x1: number, y1: number, x2: number, y2: number, style: LineStyle = {}): string {
  const { colour = gridColour, width = 1, dashed = false } = style
  const look = `stroke="${colour}" stroke-width="${width}"${dashed ? ' stroke-dasharray="4 3"' : ''}`
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" ${look}/>`
}

export function box(x: number, y: number, width: number, height: number, colour: string): string {
  return `<rect x="${at(x)}" y="${at(y)}" width="${at(width)}" height="${at(height)}" fill="${colour}"/>`
}

/** Dots, as the round ends of lines without length: an element for each would be ten times as long. */
export function dots(points: readonly (readonly [x: number, y: number])[], colour: string): string {
  const all = points.map(([x, y]) => `M${at(x)} ${at(y)}h0`).join('')
  const look = `stroke="${colour}" stroke-opacity="0.6" stroke-width="4" stroke-linecap="round"`
  return `<path d="${all}" fill="none" ${look}/>`
}

export function path(points: readonly (readonly [x: number, y: number])[], colour: string): string {
  const steps = points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${at(x)} ${at(y)}`).join('')
  return `<path d="${steps}" fill="none" stroke="${colour}" stroke-width="2" stroke-linejoin="round"/>`
}

/** A whole picture. `title` is what a reader hears who does not see it. */
export function picture(width: number, height: number, title: string, parts: readonly string[]): string {
  const size = `width="${at(width)}" height="${at(height)}" viewBox="0 0 ${at(width)} ${at(height)}"`
  const type = `font-family="system-ui, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"`
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" ${type}>`,
    `<title>${escaped(title)}</title>`, box(0, 0, width, height, '#ffffff'), ...parts, '</svg>', ''
  ].join('\n')
}

function escaped(said: string): string {
  return said.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** 1, 2 or 5 times a power of ten, the least that is not below `value`. */
export function roundUp(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value))
  const digit = [1, 2, 5].find((one) => one * power >= value * (1 - 1e-9)) ?? 10
  return digit * power
}

/** From 0 to `max` at round numbers, with about `count` steps. */
export function ticks(max: number, count: number): number[] {
  const step = roundUp(max / count)
  return Array.from({ length: Math.floor(max / step * (1 + 1e-9)) + 1 }, (_, index) =>
    Number((index * step).toPrecision(6)))
}
