import t from 'tap'
import { Bench } from '../../bench/bench.ts'
import type { Contender } from '../../bench/contender.ts'
import { Program } from '../../bench/program.ts'
import type { Options } from '../../bench/options.ts'
import type { Services } from '../../bench/services.ts'
import type { Work, Workload } from '../../bench/workloads.ts'

const options: Options = {
  quick: true, goals: false, json: false, rounds: 2, seconds: 0.5, only: [], load: []
}
const nothing = (): Promise<void> => Promise.resolve()
const services: Services = { ports: { redis: 1, http: 3 }, missing: [], stop: nothing }

function contender(name: string, missing?: string): Contender {
  const start: Contender['start'] = (ports) =>
    Promise.resolve({ ports: ports.map((port) => port + 10), pid: undefined, verify: nothing, stop: nothing })
  return { name, missing, start }
}

/** Answers each run in turn with a rate, or fails; after the last, always with the last. */
function workload(name: string, rates: readonly (number | 'fails')[], more: Partial<Workload> = {}) {
  const asked: { readonly port: number, readonly work: Work }[] = []
  const made: Workload = {
    name, service: 'redis', unit: 'requests', amountAtFirst: 40, fillsLog: false, missing: undefined,
    run(port, work) {
      const rate = rates[Math.min(asked.length, rates.length - 1)] ?? 'fails'
      asked.push({ port, work })
      return rate === 'fails'
        ? Promise.reject(new Error('it stood still'))
        : Promise.resolve({ rate, amount: work.amount, p50Ms: 1, p99Ms: 2 })
    },
    ...more
  }
  return { made, asked }
}

async function measured(workloads: readonly Workload[], contenders = [contender('one')]): Promise<Bench> {
  const bench = new Bench(options, services, workloads)
  await bench.startAll(contenders)
  await bench.calibrate()
  await bench.measure()
  await bench.verify()
  await bench.stop()
  return bench
}

void t.test('each run does what the one before did in the time asked for', async (t) => {
  const { made, asked } = workload('get', [1000, 2000, 1])
  const bench = await measured([made])
  t.same(asked.map(({ work }) => work.amount), [40, 500, 1000], 'the first is a guess')
  t.same(bench.samples.map(({ round, rate }) => [round, rate]), [[1, 2000], [2, 1]])
  t.same([bench.rounds, bench.repeated, bench.failures], [2, [], []])
})

void t.test('a run that failed is done once more in its round, and that is told', async (t) => {
  const { made, asked } = workload('get', [1000, 'fails', 1000])
  const bench = await measured([made])
  t.equal(asked.length, 4)
  t.same(bench.samples.map(({ round }) => round), [1, 2])
  t.same(bench.repeated, ['one, get, round 1: it stood still'])
  t.same(bench.failures, [])
})

void t.test('failing twice is a failure, and the other rounds go on', async (t) => {
  const { made } = workload('get', [1000, 'fails', 'fails', 1000])
  const bench = await measured([made])
  t.same(bench.samples.map(({ round }) => round), [2])
  t.same(bench.repeated.length, 1)
  t.same(bench.failures, ['one, get, round 1: it stood still'])
})

void t.test('what cannot be run is left out and named', async (t) => {
  const get = workload('get', [1000])
  const http = workload('http', [1000], { service: 'http' })
  const bulk = workload('bulk', [1000], { service: 'bulk' })
  const other = workload('other', [1000], { missing: 'no other' })
  const contenders = [contender('one'), contender('two', 'no two')]
  const bench = await measured([get.made, bulk.made, http.made, other.made], contenders)
  t.same(bench.workloads.map(({ name }) => name), ['get', 'http'], 'there is no bulk service')
  t.same(bench.contenders.map(({ name }) => name), ['one'])
  t.same(bench.missing, ['other: no other', 'two: no two'])
  t.same([get.asked[0]?.port, http.asked[0]?.port], [11, 13], 'ports are in the order of the services')
})

void t.test('a log that bulk fills bounds it', async (t) => {
  const { made, asked } = workload('up', [1e15], { fillsLog: true })
  await measured([made])
  const [, second] = asked
  t.ok(second !== undefined && second.work.amount < 1e15 / 1000, String(second?.work.amount))
})

void t.test('what is verified can fail', async (t) => {
  const liar: Contender = {
    ...contender('liar'),
    start: (ports) => Promise.resolve({
      ports, pid: undefined, verify: () => Promise.reject(new Error('nothing was committed')), stop: nothing
    })
  }
  const absent: Contender = { ...contender('absent'), start: () => Promise.reject(new Error('no port')) }
  const bench = await measured([workload('get', [1000]).made], [liar, absent])
  t.same(bench.failures, ['absent did not start: no port', 'liar: nothing was committed'])
})

void t.test('a program that is not done in time is killed, and that is a failure', async (t) => {
  const program = new Program('sleeper', 'others', 'sleep', ['600'])
  await t.rejects(program.output(1), /sleeper was not done after 0\.001 s/)
  t.equal(program.child.signalCode, 'SIGKILL')
  t.equal(await new Program('echo', 'others', 'echo', ['done']).output(), 'done\n')
})
