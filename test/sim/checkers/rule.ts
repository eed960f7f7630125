/**
 * The rules of the design's "What must hold"; 9 is progress: after the faults are over, everything ends well.
 */
export type Rule = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9

export const ruleNames: Readonly<Record<Rule, string>> = {
  1: 'output commit',
  2: 'one history',
  3: 'exactly once for the client',
  4: 'exact or reset, and known',
  5: 'a checkpoint counts when it is whole at the backup, with its mark',
  6: 'pruning drops nothing that is needed',
  7: 'one active guest',
  8: 'bounded',
  9: 'progress'
}

/** A rule was broken: the run ends here. */
export class RuleBroken extends Error {
  readonly rule: Rule

  constructor(rule: Rule, what: string) {
    super(`rule ${rule} (${ruleNames[rule]}): ${what}`)
    this.name = 'RuleBroken'
    this.rule = rule
  }
}
