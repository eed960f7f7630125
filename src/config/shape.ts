import { isAlias, isMap, isScalar, isSeq, type Document, type Node, type Pair } from 'yaml'
import { messageOf } from '../base/errors.ts'
import { invariant } from '../base/invariant.ts'
import { didYouMean } from '../base/nearest.ts'
import { expand, type Environment } from './environment.ts'
import { pathText, type Path, type Problems } from './problems.ts'
import type { Address } from './types.ts'

// The building blocks of the description of a configuration file. One table of keys (gateway-schema.ts,
// agent-schema.ts) serves the reading, the defaults, `tailgate check --print` and `--keys`, and the tests of
// the documentation.

/** What is at hand while a file is read. */
export interface Reading {
  readonly document: Document
  readonly problems: Problems
  readonly environment: Environment
}

/** A value some of whose parts could not be read. When no problem was found it is a whole T. */
export type Loose<T> =
  T extends string | number | boolean | undefined | Address ? T
    : T extends readonly (infer U)[] ? readonly Loose<U>[]
      : { readonly [K in keyof T]?: Loose<T[K]> | undefined }

/** One kind of value. */
export interface Shape<T> {
  /** For people: `duration`, `list of hosts`. */
  readonly label: string
  /** Reads `node`; what is wrong goes to `reading.problems`. Undefined if nothing of it could be used. */
  read(node: Node, path: Path, reading: Reading): Loose<NoInfer<T>> | undefined
  /** The value in the notation of the file. */
  print(value: T): unknown
  /** The keys inside a value that stands at `path`. */
  keys(path: string): readonly KeyDescription[]
}

/** A scalar or a table whose keys may all be left out can be made from nothing but its defaults. */
export interface DefaultShape<T> extends Shape<T> {
  fallback(): T
}

export interface ScalarShape<T> extends Shape<T> {
  /** Throws a RangeError that ends the sentence "must be". */
  parse(text: string): T
}

export interface KeyDescription {
  /** From the root of the file, `[]` for any element: `guests[].hosts[].link`. */
  readonly path: string
  readonly label: string
  /** `required`, `-` for an absence that means something, or the default in the notation of the file. */
  readonly fallback: string
  readonly doc: string
}

/** One key of a table. */
export interface Field<T> {
  readonly required: boolean
  read(node: Node, path: Path, reading: Reading): Loose<NoInfer<T>> | undefined
  /** What a file without the key means. */
  fallback(): T | undefined
  /** Undefined where the key is to be left out. */
  print(value: T): unknown
  describe(path: string): readonly KeyDescription[]
}

export type Fields = Readonly<Record<string, Field<unknown>>>
/** What a field or a shape prints is its type; what it reads is only the loose form of it. */
export type ValueOf<S> = S extends { print(value: infer T): unknown } ? T : never
export type TableOf<F extends Fields> = { readonly [K in keyof F]: ValueOf<F[K]> }

export function scalar<T extends string | number | boolean | Address>(
  label: string, parse: (text: string) => T, print: (value: T) => unknown
): ScalarShape<T> {
  const read = (node: Node, path: Path, reading: Reading): Loose<T> | undefined => {
    const { document, problems, environment } = reading
    const text = textOf(node, document)
    if (text === undefined) {
      problems.report(path, `must be a ${label}, not ${nameOfKind(node, document)}`)
      return undefined
    }
    let expanded = text
    try {
      expanded = expand(text, environment)
    } catch (error) {
      problems.report(path, messageOf(error))
      return undefined
    }
    try {
      // A scalar is its own loose form, which the conditional type cannot show for an open T.
      return parse(expanded) as Loose<T>
    } catch (error) {
      problems.report(path, `'${expanded}' must be ${messageOf(error)}`)
      return undefined
    }
  }
  return { label, parse, print, read, keys: () => [] }
}

export function list<T>(label: string, element: Shape<T>): Shape<readonly T[]> {
  return {
    label,
    read(node, path, reading) {
      const sequence = resolved(node, reading.document)
      if (!isSeq(sequence)) {
        reading.problems.report(path, `must be a ${label}, not ${nameOfKind(node, reading.document)}`)
        return undefined
      }
      const values = sequence.items.map((item, i) => readAt(element, item as Node, [...path, i], reading))
      return values as Loose<readonly T[]>
    },
    print: (values) => values.map((value) => element.print(value)),
    keys: (path) => element.keys(`${path}[]`)
  }
}

export function table<F extends Fields>(label: string, fields: F): DefaultShape<TableOf<F>> {
  const read = (node: Node, path: Path, reading: Reading): Loose<TableOf<F>> | undefined => {
    const map = resolved(node, reading.document)
    if (!isMap(map)) {
      reading.problems.report(path, `must be a ${label}, not ${nameOfKind(node, reading.document)}`)
      return undefined
    }
    const nodes = knownKeys(map.items, Object.keys(fields), path, reading)
    return Object.fromEntries(Object.entries(fields).map(([key, field]) => {
      const inner = nodes.get(key)
      if (inner !== undefined) return [key, readAt(field, inner, [...path, key], reading)]
      if (field.required) reading.problems.report(path, `the key '${key}' is missing`)
      return [key, field.fallback()]
    })) as Loose<TableOf<F>>
  }
  const print = (value: TableOf<F>): unknown => {
    const printed = Object.entries(fields).map(([key, field]) => [key, field.print(value[key])] as const)
    return Object.fromEntries(printed.filter(([, plain]) => plain !== undefined))
  }
  const keys = (path: string): readonly KeyDescription[] =>
    Object.entries(fields).flatMap(([key, field]) => field.describe(path === '' ? key : `${path}.${key}`))
  const fallback = (): TableOf<F> => {
    const required = Object.keys(fields).filter((key) => fields[key]?.required)
    invariant(required.length === 0, 'a table with required keys has no default', { label, required })
    const values = Object.entries(fields).map(([key, field]) => [key, field.fallback()])
    return Object.fromEntries(values) as TableOf<F>
  }
  return { label, read, print, keys, fallback }
}

export function required<T>(shape: Shape<T>, doc: string): Field<T> {
  return {
    required: true,
    read: (node, path, reading) => shape.read(node, path, reading),
    fallback: () => undefined,
    print: (value) => shape.print(value),
    describe: (path) => [{ path, label: shape.label, fallback: 'required', doc }, ...shape.keys(path)]
  }
}

/** A key whose absence means something of its own, which `doc` tells. */
export function optional<T>(shape: Shape<T>, doc: string): Field<T | undefined> {
  return {
    required: false,
    read: (node, path, reading) => shape.read(node, path, reading),
    fallback: () => undefined,
    print: (value) => value === undefined ? undefined : shape.print(value),
    describe: (path) => [{ path, label: shape.label, fallback: '-', doc }, ...shape.keys(path)]
  }
}

/** A key with a default, which is written as in a file. */
export function defaulted<T>(shape: ScalarShape<T>, fallback: string, doc: string): Field<T> {
  const value = shape.parse(fallback)
  return {
    required: false,
    read: (node, path, reading) => shape.read(node, path, reading),
    fallback: () => value,
    print: (value) => shape.print(value),
    describe: (path) => [{ path, label: shape.label, fallback, doc }]
  }
}

/** A key that holds a table of keys with defaults. */
export function section<T>(shape: DefaultShape<T>, doc: string): Field<T> {
  return {
    required: false,
    read: (node, path, reading) => shape.read(node, path, reading),
    fallback: () => shape.fallback(),
    print: (value) => shape.print(value),
    describe: (path) => [{ path, label: shape.label, fallback: 'as below', doc }, ...shape.keys(path)]
  }
}

/** A list that may be left out, and is empty then. */
export function many<T>(shape: Shape<readonly T[]>, doc: string): Field<readonly T[]> {
  return {
    required: false,
    read: (node, path, reading) => shape.read(node, path, reading),
    fallback: () => [],
    print: (values) => values.length === 0 ? undefined : shape.print(values),
    describe: (path) => [{ path, label: shape.label, fallback: 'none', doc }, ...shape.keys(path)]
  }
}

function readAt<T>(
  what: { read(node: Node, path: Path, reading: Reading): T | undefined },
  node: Node, path: Path, reading: Reading
): T | undefined {
  reading.problems.place(path, node.range?.[0] ?? 0)
  const target = resolved(node, reading.document)
  if (isScalar(target) && target.value === null && (target.source ?? '') === '') {
    reading.problems.report(path, 'has no value; give one, or leave the key out')
    return undefined
  }
  return what.read(node, path, reading)
}

/** The nodes of the keys that exist; the others are reported. */
function knownKeys(
  items: readonly Pair[], known: readonly string[], path: Path, { document, problems }: Reading
): ReadonlyMap<string, Node> {
  const nodes = new Map<string, Node>()
  for (const { key, value } of items) {
    const name = textOf(key as Node, document)
    const offset = (key as Node).range?.[0] ?? 0
    if (name === undefined || !known.includes(name)) {
      const shown = name ?? nameOfKind(key as Node, document)
      const where = path.length === 0 ? '' : ` in ${pathText(path)}`
      problems.reportAt(offset, `unknown key '${shown}'${where}${didYouMean(shown, known)}`)
    } else if (value === null) {
      problems.reportAt(offset, `'${name}' has no value; give one, or leave the key out`)
    } else {
      nodes.set(name, value as Node)
    }
  }
  return nodes
}

/** What an alias stands for. */
function resolved(node: Node, document: Document): Node | undefined {
  return isAlias(node) ? node.resolve(document) : node
}

/** The text of a scalar as it was written, so that `1e3` or `0x10` are not taken for numbers. */
function textOf(node: Node, document: Document): string | undefined {
  // `*:6379` is an alias to YAML. No anchor of ours begins with a colon, so what was meant is plain.
  if (isAlias(node) && node.source.startsWith(':')) return `*${node.source}`
  const target = resolved(node, document)
  if (!isScalar(target)) return undefined
  return typeof target.value === 'string' ? target.value : target.source
}

function nameOfKind(node: Node, document: Document): string {
  const target = resolved(node, document)
  if (isMap(target)) return 'a table'
  if (isSeq(target)) return 'a list'
  if (isAlias(node)) return `the unknown alias *${node.source}`
  return `'${textOf(node, document) ?? ''}'`
}
