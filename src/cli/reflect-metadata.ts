/*
 * @peculiar/x509 finds its signature formats with tsyringe, which refuses to load unless somebody has
 * provided three functions of the proposal for metadata. These are they, as far as it needs them: nothing
 * is kept for properties, and nothing is inherited. Import this before @peculiar/x509.
 */

type Target = object

const kept = new WeakMap<Target, Map<unknown, unknown>>()

const missing = {
  defineMetadata(key: unknown, value: unknown, target: Target): void {
    const known = kept.get(target)
    if (known === undefined) kept.set(target, new Map([[key, value]]))
    else known.set(key, value)
  },
  getMetadata: (key: unknown, target: Target): unknown => kept.get(target)?.get(key),
  getOwnMetadata: (key: unknown, target: Target): unknown => kept.get(target)?.get(key)
}

if (!('getMetadata' in Reflect)) Object.assign(Reflect, missing)
