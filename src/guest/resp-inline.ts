const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', a: '\x07' }

const isSpace = (char: string): boolean => char === ' ' || (char >= '\t' && char <= '\r') || char === '\0'

/**
 * Splits a line into words as Redis does: "double" quotes with escapes (\n, \x41), 'single' ones with \'
 * only, and a quoted part must end its word. Undefined if the quotes are not balanced.
 */
export function splitInline(line: string): string[] | undefined {
  const words: string[] = []
  let at = 0
  for (;;) {
    while (at < line.length && isSpace(line.charAt(at))) at += 1
    if (at >= line.length) return words
    const word = takeWord(line, at)
    if (word === undefined) return undefined
    words.push(word.text)
    at = word.end
  }
}

interface Piece {
  readonly text: string
  readonly end: number
}

function takeWord(line: string, from: number): Piece | undefined {
  let text = ''
  let at = from
  while (at < line.length && !isSpace(line.charAt(at))) {
    const char = line.charAt(at)
    if (char !== '"' && char !== '\'') {
      text += char
      at += 1
      continue
    }
    const quoted = char === '"' ? takeDouble(line, at + 1) : takeSingle(line, at + 1)
    if (quoted === undefined) return undefined
    if (quoted.end < line.length && !isSpace(line.charAt(quoted.end))) return undefined
    text += quoted.text
    at = quoted.end
  }
  return { text, end: at }
}

function takeDouble(line: string, from: number): Piece | undefined {
  let text = ''
  let at = from
  while (at < line.length) {
    const char = line.charAt(at)
    if (char === '"') return { text, end: at + 1 }
    const hex = /^\\x([0-9a-fA-F]{2})/.exec(line.slice(at, at + 4))
    if (hex !== null) {
      text += String.fromCharCode(parseInt(hex[1] ?? '', 16))
      at += 4
    } else if (char === '\\' && at + 1 < line.length) {
      const escaped = line.charAt(at + 1)
      text += escapes[escaped] ?? escaped
      at += 2
    } else {
      text += char
      at += 1
    }
  }
  return undefined
}

function takeSingle(line: string, from: number): Piece | undefined {
  let text = ''
  let at = from
  while (at < line.length) {
    const char = line.charAt(at)
    if (char === '\'') return { text, end: at + 1 }
    const escaped = char === '\\' && line.charAt(at + 1) === '\''
    text += escaped ? '\'' : char
    at += escaped ? 2 : 1
  }
  return undefined
}
