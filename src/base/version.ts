import { readFileSync } from 'node:fs'

const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))

/** The version of this build, as its package.json says it. */
export const version = typeof manifest === 'object' && manifest !== null && 'version' in manifest
  && typeof manifest.version === 'string' ? manifest.version : '0.0.0'
