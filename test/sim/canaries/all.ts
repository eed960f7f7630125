import type { Canary } from './canary.ts'

export const canaries: readonly Canary[] = []
