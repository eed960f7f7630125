import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { createConnection, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { QmpClient } from '../../src/engine/qmp.ts'
import { qemuHost, RedisGuest } from './guest.ts'
import { shortDirectory, TapInNamespace } from './namespace.ts'
import { inPieces, take } from '../engine/compliance.ts'

// What is QEMU's own, beyond the suite of all engines.

const host = await qemuHost(t)

/** A second control socket of a guest, for looking at it while the engine has the first. */
function watchWords(directory: string): readonly string[] {
  return ['-chardev', `socket,id=watch,path=${join(directory, 'watch')},server=on,wait=off`,
    '-mon', 'chardev=watch,mode=control']
}

async function watch(directory: string): Promise<QmpClient> {
  return QmpClient.open(createConnection(join(directory, 'watch')), 10_000)
}

if (host !== undefined) {
  for (const save of ['background-snapshot', 'plain'] as const) {
    void t.test(`${save}: nothing of the guest runs until the mark is answered`, async t => {
      const directory = await shortDirectory(t)
      const guest = await RedisGuest.make(t, host, { save, more: watchWords(directory) })
      await guest.boot()
      const seen = await watch(directory)
      t.teardown(() => { seen.close() })
      const client = await guest.connect()
      t.equal(await client.ask('INCR n'), 1)
      const events: string[] = []
      seen.listen(({ name }) => { events.push(name) })
      const state = () => seen.execute('human-monitor-command', { 'command-line': 'info registers' })
      const image = await take(guest.engine, async () => {
        events.push('standing')
        client.send('INCR n')
        const before = await state()
        // Each question is a turn of QEMU's main loop, in which the request could reach the guest.
        for (let turn = 0; turn < 200; turn++) await seen.execute('query-status')
        t.match(await seen.execute('query-status'), { status: 'paused', running: false })
        t.equal(await state(), before, 'its processor has not made a step')
        t.equal(client.heard, 0)
        events.push('answered')
      })
      t.equal(await client.next(), 2, 'what came meanwhile is answered afterwards')
      const steps = ['STOP', 'standing', 'answered', 'RESUME']
      t.same(events.filter(name => steps.includes(name)), steps)
      t.same(guest.notices, [`checkpoints are made by ${save}`])
      client.close()
      await guest.engine.stop()

      const other = await RedisGuest.make(t, host)
      await other.engine.restore(inPieces(image, 1 << 20))
      await other.engine.openNetwork()
      t.equal(await other.ask('GET n'), '1', 'it is in the image as it was at the mark')
      t.same(other.network.orders, ['prepare', 'open', 'announce'])
      await other.engine.stop()
    })
  }

  void t.test('an image that is taken too slowly fails, and the guest was not held', async t => {
    const guest = await RedisGuest.make(t, host, { queuedBytes: 1 << 20 })
    await guest.boot()
    const pieces = guest.engine.checkpoint(() => Promise.resolve())
    await pieces.next()
    // Nobody takes the next piece, and the guest writes to memory that must be saved first.
    t.equal(await guest.ask(`SET big ${'x'.repeat(2 << 20)}`), 'OK')
    t.equal(await guest.shell('head -c 2000000 /dev/zero >/tmp/a; wc -c </tmp/a'), '2000000')
    await t.rejects((async () => { for await (const piece of pieces) t.ok(piece.length > 0) })(),
      { code: 'E_ENGINE', message: /wait here and more come.*limits.spool/ })
    t.equal(await guest.ask('STRLEN big'), 2 << 20)
    t.ok((await take(guest.engine)).length > 0, 'the next one is whole')
    await guest.engine.stop()
  })

  void t.test('a guest that ends by itself has failed, with the reason', async t => {
    const guest = await RedisGuest.make(t, host, { more: ['-device', 'pvpanic-pci'] })
    const failure = () => new Promise<string>(resolve => { guest.engine.onFailure = resolve })
    await guest.boot()
    let failed = failure()
    void guest.shell('poweroff -f').catch(() => undefined)
    t.match(await failed, /shut down \(guest-shutdown\)/)
    t.equal(guest.engine.condition, 'failed')
    await guest.engine.stop()
    await guest.boot()
    failed = failure()
    void guest.shell('echo c >/proc/sysrq-trigger').catch(() => undefined)
    t.match(await failed, /panicked/)
    await guest.engine.stop()
  })

  void t.test('kept ready: the guest is loaded into a QEMU that waits', async t => {
    const guest = await RedisGuest.make(t, host)
    await guest.boot()
    await guest.ask('SET key ready')
    await guest.engine.standBy()
    const image = await take(guest.engine)
    await guest.engine.stop()
    await guest.engine.standBy()
    await guest.engine.standBy()
    t.equal(guest.engine.condition, 'absent')
    t.same(guest.network.orders.slice(-2), ['close', 'prepare'], 'a second one is not made')
    const waiting = await readPid(guest)
    await guest.engine.restore(inPieces(image, 1 << 20))
    t.equal(guest.engine.pid, waiting, 'it is the one that waited')
    await guest.engine.openNetwork()
    t.equal(await guest.ask('GET key'), 'ready')
    await guest.engine.stop()
    t.notOk(isThere(waiting))
    await guest.engine.standBy()
    const unused = await readPid(guest)
    await guest.engine.start()
    t.notOk(isThere(unused), 'a guest that is started needs none that waits')
    await guest.engine.stop()
  })

  void t.test('an agent that is killed takes its QEMU along, and what is left is found', async t => {
    const directory = await shortDirectory(t)
    const held = createServer().listen(join(directory, 'held'))
    t.teardown(() => held.close())
    const holding = once(held, 'connection') as Promise<[Socket]>
    const program = fileURLToPath(new URL('orphan.ts', import.meta.url))
    const child = spawn(process.execPath, ['--import=tsx', program, directory, host.qemu],
      { stdio: ['ignore', 'pipe', 'inherit'] })
    const [said] = await once(child.stdout, 'data') as [Buffer]
    const pid = Number(said.toString())
    t.ok(isThere(pid))
    child.kill('SIGKILL')
    const [socket] = await holding
    await once(socket.resume(), 'close')
    t.pass('QEMU has let go of all that it had')

    const stray = spawn('sleep', ['1000'])
    t.teardown(() => stray.kill('SIGKILL'))
    const guest = await RedisGuest.make(t, host, { directory })
    await writeFile(join(directory, 'qemu.pid'), `${stray.pid ?? 0} 1 of-another-boot`)
    await guest.engine.prepare()
    t.ok(isThere(stray.pid ?? 0), 'a process that only has the same id is left alone')
    t.notOk(existsSync(join(directory, 'qemu.pid')))
  })

  void t.test('attached to a machine that runs already', async t => {
    const directory = await shortDirectory(t)
    const owner = await RedisGuest.make(t, host, { more: watchWords(directory) })
    await owner.boot()
    await owner.ask('SET key theirs')
    const network = new TapInNamespace(owner.space)
    const options = { attach: join(directory, 'watch'), arguments: undefined }
    const refusing = await RedisGuest.make(t, host, {
      ...options, network: Object.assign(new TapInNamespace(owner.space), {
        adopt: () => Promise.reject(new Error('no such tap')), close: () => Promise.resolve()
      })
    }, owner.space)
    await t.rejects(refusing.engine.start(), { code: 'E_ENGINE', message: /no such tap/ })
    t.equal(await owner.ask('GET key'), 'theirs', 'what is refused is left running')
    const guest = await RedisGuest.make(t, host, { ...options, network }, owner.space)
    t.equal(guest.engine.canRestore, false)
    await guest.engine.start()
    t.same(network.orders, ['adopt', 'open'], 'the tap is there, with the guest on it')
    const image = await take(guest.engine)
    t.same(guest.notices, ['checkpoints are made by plain'])
    t.equal(await owner.ask('GET key'), 'theirs')
    await t.rejects(guest.engine.restore(inPieces(image)), { code: 'E_ENGINE' })
    await guest.engine.stop()

    const other = await RedisGuest.make(t, host)
    await other.engine.restore(inPieces(image, 1 << 20))
    await other.engine.openNetwork()
    t.equal(await other.ask('GET key'), 'theirs')
  })

  void t.test('a QEMU that cannot be started, or is another machine, is E_ENGINE with its words', async t => {
    const wrong = await RedisGuest.make(t, host, { more: ['-nonsense'] })
    await t.rejects(wrong.engine.start(), { code: 'E_ENGINE', message: /-nonsense: invalid option/ })
    const missing = await RedisGuest.make(t, host, { program: ['/no/such/qemu'] })
    await t.rejects(missing.engine.start(), { code: 'E_ENGINE', message: /no\/such\/qemu/ })
    const guest = await RedisGuest.make(t, host)
    await guest.engine.start()
    const image = await take(guest.engine)
    await guest.engine.stop()
    const larger = await RedisGuest.make(t, host, { memoryMiB: 112 })
    await t.rejects(larger.engine.restore(inPieces(image)), {
      code: 'E_ENGINE', message: /the checkpoint is of .* 96 MiB.* this host's QEMU makes .* 112 MiB/
    })
    t.equal(larger.engine.condition, 'absent')
  })
}

async function readPid(guest: RedisGuest): Promise<number> {
  return Number((await readFile(join(guest.directory, 'qemu.pid'), 'utf8')).split(' ')[0])
}

function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
