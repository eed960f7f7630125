/**
 * Whether `text` matches a Redis pattern: `*`, `?`, `[a-z]`, `[^a]`, `\` before a plain character. Walks back
 * to the last star only, so that no pattern takes exponential time.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  let p = 0
  let t = 0
  let starPattern = -1
  let starText = 0
  while (t < text.length) {
    const step = p < pattern.length ? matchOne(pattern, p, text.charAt(t)) : undefined
    if (pattern.charAt(p) === '*') {
      starPattern = ++p
      starText = t
    } else if (step !== undefined) {
      p = step
      t += 1
    } else if (starPattern >= 0) {
      p = starPattern
      t = ++starText
    } else {
      return false
    }
  }
  while (pattern.charAt(p) === '*') p += 1
  return p >= pattern.length
}

/** The place in the pattern after the element at `p` if that matches `char`. */
function matchOne(pattern: string, p: number, char: string): number | undefined {
  const element = pattern.charAt(p)
  if (element === '?') return p + 1
  if (element === '[') return matchClass(pattern, p + 1, char)
  const escaped = element === '\\' && p + 1 < pattern.length
  const wanted = escaped ? pattern.charAt(p + 1) : element
  return wanted === char ? p + (escaped ? 2 : 1) : undefined
}

function matchClass(pattern: string, from: number, char: string): number | undefined {
  const negated = pattern.charAt(from) === '^'
  let p = negated ? from + 1 : from
  let found = false
  while (p < pattern.length && pattern.charAt(p) !== ']') {
    if (pattern.charAt(p) === '\\' && p + 1 < pattern.length) p += 1
    const low = pattern.charAt(p)
    if (pattern.charAt(p + 1) === '-' && p + 2 < pattern.length) {
      const high = pattern.charAt(p + 2)
      if (low <= high ? char >= low && char <= high : char >= high && char <= low) found = true
      p += 3
    } else {
      if (low === char) found = true
      p += 1
    }
  }
  return found === negated ? undefined : Math.min(p + 1, pattern.length)
}
