import { builtImage } from '../../test/built-image.ts'
import { runInNamespaces } from '../laboratory.ts'
import type { CheckpointFigure, FailoverFigure, Point } from './report.ts'

/** What the program in the namespaces is to measure: its one argument, as JSON. */
export interface LabOrder {
  readonly image: string
  readonly points: readonly Point[]
  readonly checkpoints: boolean
  readonly rounds: number
}

/** What it says, a line of JSON each. */
export type LabAnswer =
  | { readonly failover: FailoverFigure }
  | { readonly checkpoints: readonly CheckpointFigure[] }
  | { readonly failed: string, readonly reason: string }

const labProgram = new URL('in-lab.ts', import.meta.url)

/** The directory of the machine's kernel and first file system. */
export function machineImage(): Promise<string> {
  return builtImage('deploy/demo-guest/build.sh', 'tailgate-test-guest')
}

/** Rejects when the order did not come to its end. */
export function measureInLab(order: LabOrder, onAnswer: (answer: LabAnswer) => void): Promise<void> {
  return runInNamespaces(labProgram, order, (answer) => onAnswer(answer as LabAnswer))
}
