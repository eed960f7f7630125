import { runInNamespaces } from '../laboratory.ts'
import type { Trial } from './plan.ts'
import type { RemusTrial } from './report.ts'

/** What the program in the namespaces is to measure: its one argument, as JSON. */
export interface LabOrder {
  /** The directory of a Xen host's image. */
  readonly image: string
  readonly trial: Trial
}

/** What it says, a line of JSON. */
export type LabAnswer =
  | { readonly trial: RemusTrial }
  | { readonly failed: string, readonly reason: string }

const labProgram = new URL('in-lab.ts', import.meta.url)

/** In namespaces of its own, so that nothing of a trial before is left. Rejects when it did not end well. */
export function measureInLab(order: LabOrder, onAnswer: (answer: LabAnswer) => void): Promise<void> {
  return runInNamespaces(labProgram, order, (answer) => onAnswer(answer as LabAnswer))
}
