/** The variables a file may name; `process.env` has this form. */
export type Environment = Readonly<Record<string, string | undefined>>

const reference = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{/g

/**
 * Puts the values of `${NAME}` and `${NAME:-default}` into a value; the default also stands in for an empty
 * variable, as in a shell. `$${` is a plain `${`. Throws a RangeError with a sentence that names what is
 * missing.
 */
export function expand(text: string, environment: Environment): string {
  if (!text.includes('${')) return text
  return text.replace(reference, (whole: string, name?: string, fallback?: string) => {
    if (whole === '$${') return '${'
    if (name === undefined) throw new RangeError('`${` does not begin ${NAME} or ${NAME:-default}; write '
      + '$${ for itself')
    const value = Object.hasOwn(environment, name) ? environment[name] : undefined
    if (fallback !== undefined && (value === undefined || value === '')) return fallback
    if (value === undefined) {
      throw new RangeError(`the environment has no ${name}; set it, or give a default as in `
        + `\${${name}:-value}`)
    }
    return value
  })
}
