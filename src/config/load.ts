import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { isMap, isScalar, LineCounter, parseDocument, stringify, type Document } from 'yaml'
import { messageOf, TailgateError } from '../base/errors.ts'
import { agentSchema, type AgentFile } from './agent-schema.ts'
import { buildAgent, checkAgent } from './agent.ts'
import type { Checking } from './checks.ts'
import type { Environment } from './environment.ts'
import { gatewaySchema, type GatewayFile } from './gateway-schema.ts'
import { buildGateway, checkGateway, effectiveGateway } from './gateway.ts'
import { Problems, type Problem } from './problems.ts'
import type { KeyDescription, Loose, Shape } from './shape.ts'
import type { AgentConfig, Config, GatewayConfig } from './types.ts'

export type ConfigKind = Config['kind']

export interface LoadOptions {
  /** Whose variables the file may name; the process's own where left out. */
  readonly environment?: Environment
  /**
   * False: do not look whether certificates and fence programs are there, for a file that is meant for
   * another machine.
   */
  readonly withFiles?: boolean
  /** The kind the file must have; where left out, its keys say it. */
  readonly kind?: ConfigKind
}

/** What a file came to. */
export type Loaded =
  | { readonly ok: true, readonly config: Config, readonly effective: string }
  | { readonly ok: false, readonly problems: readonly Problem[] }

/** A kind of file, with what its shape, its checks and its result have in common. */
interface FileKind<F> {
  readonly kind: ConfigKind
  readonly shape: Shape<F>
  check(file: Loose<F>, checking: Checking): void
  /** What is in effect, in the notation of the file. */
  effective(file: F): unknown
  build(file: F, directory: string): Config
}

const gatewayFile: FileKind<GatewayFile> = {
  kind: 'gateway',
  shape: gatewaySchema,
  check: checkGateway,
  effective: effectiveGateway,
  build: buildGateway
}
const agentFile: FileKind<AgentFile> = {
  kind: 'agent',
  shape: agentSchema,
  check: checkAgent,
  effective: (file) => agentSchema.print(file),
  build: buildAgent
}

/** Every key of one kind of file, in the order of the table. */
export function keysOf(kind: ConfigKind): readonly KeyDescription[] {
  return (kind === 'gateway' ? gatewaySchema : agentSchema).keys('')
}

/** Reads and checks a gateway file. Throws as {@link loadConfig}. */
export function loadGatewayConfig(file: string, options: LoadOptions = {}): GatewayConfig {
  const config = loadConfig(file, { ...options, kind: 'gateway' })
  if (config.kind !== 'gateway') throw wrongKind(file, config.kind)
  return config
}

/** Reads and checks an agent file. Throws as {@link loadConfig}. */
export function loadAgentConfig(file: string, options: LoadOptions = {}): AgentConfig {
  const config = loadConfig(file, { ...options, kind: 'agent' })
  if (config.kind !== 'agent') throw wrongKind(file, config.kind)
  return config
}

/**
 * Reads and checks a file of either kind. Throws E_CONFIG with every problem as `file:line:column:
 * message`.
 */
export function loadConfig(file: string, options: LoadOptions = {}): Config {
  const loaded = readConfig(file, options)
  if (loaded.ok) return loaded.config
  const problems = problemLines(file, loaded.problems)
  const count = problems.length === 1 ? 'an error' : `${problems.length} errors`
  throw new TailgateError('E_CONFIG', `${file} has ${count}`, { context: { problems } })
}

export function problemLines(file: string, problems: readonly Problem[]): readonly string[] {
  return problems.map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`)
}

/** As {@link loadConfig}, with the problems as data, and E_CONFIG only for a file that cannot be opened. */
export function readConfig(file: string, options: LoadOptions = {}): Loaded {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (error) {
    throw new TailgateError('E_CONFIG', `${file} cannot be read (${messageOf(error)})`, { cause: error })
  }
  return parseConfig(text, dirname(resolve(file)), options)
}

/** @param directory where relative paths start */
export function parseConfig(text: string, directory: string, options: LoadOptions = {}): Loaded {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const problems = new Problems((offset) => {
    const { line, col } = lines.linePos(offset)
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  })
  const readable = reportSyntax(document, text, problems)
  if (!readable) return { ok: false, problems: problems.list() }
  const kind = kindOf(document)
  if (options.kind !== undefined && kind !== undefined && kind !== options.kind) {
    problems.reportAt(0, `these are the keys of ${article(kind)} file, and ${article(options.kind)} file `
      + `is wanted`)
    return { ok: false, problems: problems.list() }
  }
  const checking = { problems, directory, withFiles: options.withFiles ?? true }
  const environment = options.environment ?? process.env
  return (options.kind ?? kind) === 'agent'
    ? evaluate(agentFile, document, checking, environment)
    : evaluate(gatewayFile, document, checking, environment)
}

/** Reports what YAML found, one for each line: more are its echo. False if the rest is not worth reading. */
function reportSyntax(document: Document.Parsed, text: string, problems: Problems): boolean {
  const lines = new Set<number>()
  for (const error of [...document.errors, ...document.warnings]) {
    const [offset] = error.pos
    const lineStart = text.lastIndexOf('\n', offset - 1)
    if (!lines.has(lineStart)) problems.reportAt(offset, `${error.message}${hintFor(text, offset)}`)
    lines.add(lineStart)
  }
  return document.errors.every(({ code }) => code === 'DUPLICATE_KEY')
}

function evaluate<F>(
  what: FileKind<F>, document: Document.Parsed, checking: Checking, environment: Environment
): Loaded {
  const { problems } = checking
  if (document.contents === null) {
    problems.reportAt(0, 'the file is empty')
    return { ok: false, problems: problems.list() }
  }
  const file = what.shape.read(document.contents, [], { document, problems, environment })
  if (file !== undefined) what.check(file, checking)
  if (!problems.none || file === undefined) return { ok: false, problems: problems.list() }
  // Every part that could not be read has left a problem, so this one is whole.
  const whole = file as F
  return {
    ok: true,
    config: what.build(whole, checking.directory),
    effective: stringify(what.effective(whole), { lineWidth: 0 })
  }
}

/** The kind most of whose own keys the file has; undefined where neither has any. */
function kindOf(document: Document): ConfigKind | undefined {
  if (!isMap(document.contents)) return undefined
  const keys = document.contents.items.map(({ key }) => isScalar(key) ? String(key.value) : '')
  const topLevel = (kind: ConfigKind): readonly string[] =>
    keysOf(kind).map(({ path }) => path).filter((path) => !path.includes('.'))
  const own = (kind: ConfigKind, other: ConfigKind): number =>
    keys.filter((key) => topLevel(kind).includes(key) && !topLevel(other).includes(key)).length
  const [gateway, agent] = [own('gateway', 'agent'), own('agent', 'gateway')]
  if (gateway === agent) return undefined
  return gateway > agent ? 'gateway' : 'agent'
}

/** What YAML makes of two things that people write without quotes. */
function hintFor(text: string, offset: number): string {
  const start = text.lastIndexOf('\n', offset - 1) + 1
  const end = text.indexOf('\n', offset)
  const line = text.slice(start, end === -1 ? undefined : end)
  if (/[\s:,{[]\[[0-9a-fA-F:]*::/.test(line)) return '; an address in brackets must be in quotes: '
    + '"[::1]:6379"'
  if (/\{[^"']*\$\{/.test(line)) return '; within { } a value with ${...} must be in quotes'
  return ''
}

function wrongKind(file: string, kind: ConfigKind): TailgateError {
  return new TailgateError('E_CONFIG', `${file}:1:1: this is ${article(kind)} file`)
}

function article(kind: ConfigKind): string {
  return kind === 'agent' ? 'an agent' : 'a gateway'
}
