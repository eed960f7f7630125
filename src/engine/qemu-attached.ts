import { stat } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { messageOf, TailgateError } from '../base/errors.ts'
import { attachedStreamSocket } from '../config/qemu-sockets.ts'
import type { QemuMachine, StreamPlace } from './qemu-machine.ts'
import { QmpClient } from './qmp.ts'

/** A QEMU that somebody else has started, reached over a control socket of its own for us. */
export class AttachedQemu implements QemuMachine {
  readonly qmp: QmpClient
  readonly gone: Promise<string>
  /** Beside the control socket, where that QEMU can reach it: a data directory is closed to other users. */
  readonly stream: StreamPlace
  readonly #path: string
  readonly #timeoutMs: number

  private constructor(qmp: QmpClient, path: string, owner: number, timeoutMs: number) {
    this.qmp = qmp
    this.gone = qmp.closed
    this.stream = { path: attachedStreamSocket(path), owner }
    this.#path = path
    this.#timeoutMs = timeoutMs
  }

  /** Rejects with E_ENGINE. QEMU talks to one client at a time: a socket that another has open is silent. */
  static async attach(path: string, timeoutMs: number): Promise<AttachedQemu> {
    const qmp = await connect(path, timeoutMs)
    try {
      // QEMU has made it, as the user that it runs as.
      const { uid } = await stat(path)
      return new AttachedQemu(qmp, path, uid, timeoutMs)
    } catch (cause) {
      qmp.close()
      const what = `whose socket ${path} is cannot be told: ${messageOf(cause)}`
      throw new TailgateError('E_ENGINE', what, { cause })
    }
  }

  /** Has QEMU quit. That it is gone is known when its socket takes nobody any more. */
  async kill(): Promise<void> {
    await this.qmp.execute('quit').catch(() => undefined)
    this.qmp.close()
    for (let tries = 0; tries < 3; tries++) {
      const qmp = await connect(this.#path, this.#timeoutMs).catch(() => undefined)
      if (qmp === undefined) return
      await qmp.execute('quit').catch(() => undefined)
      await Promise.race([qmp.closed, qmp.event(() => false, this.#timeoutMs, '').catch(() => undefined)])
      qmp.close()
    }
    throw new TailgateError('E_ENGINE', `the QEMU at ${this.#path} does not quit: end it by hand`)
  }
}

async function connect(path: string, timeoutMs: number): Promise<QmpClient> {
  try {
    return await QmpClient.open(createConnection(path), timeoutMs)
  } catch (cause) {
    const what = `the QEMU at ${path} cannot be talked to: ${messageOf(cause)}; it needs a QMP socket that `
      + 'nobody else has open'
    throw new TailgateError('E_ENGINE', what, { cause })
  }
}
