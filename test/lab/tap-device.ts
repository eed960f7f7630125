import { closeSync, constants, openSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import koffi from 'koffi'

/** linux/if_tun.h and linux/if.h: struct ifreq is a name of 16 bytes, flags, and padding up to 40. */
const tunSetInterface = 0x400454ca
const flagTap = 0x0002
const flagNoInfo = 0x1000
const nameBytes = 16
const requestBytes = 40

type PipeHandle = object & { open(descriptor: number): number }
/** Where Node keeps the class of its pipes. */
interface Internals {
  binding(name: 'pipe_wrap'): { readonly Pipe: new (type: number) => PipeHandle }
}

const ioctl = koffi.load(null).func('int ioctl(int, unsigned long, void*)')

/**
 * One end of an Ethernet: a tap device of this process's network namespace, whose frames a test sends and
 * gets as they are. A device that is not there yet is made, and is gone with the process.
 */
export class TapDevice {
  readonly name: string
  onFrame: ((frame: Buffer) => void) | undefined
  readonly #descriptor: number
  readonly #socket: Socket

  private constructor(name: string, descriptor: number) {
    this.name = name
    this.#descriptor = descriptor
    // libuv's pipe reads any descriptor that can be polled; the kernel gives one frame to each read.
    const { Pipe } = (process as unknown as Internals).binding('pipe_wrap')
    const handle = new Pipe(0)
    handle.open(descriptor)
    this.#socket = new Socket({ handle, readable: true, writable: true } as object)
    this.#socket.on('data', (frame: Buffer) => this.onFrame?.(frame))
    // A device that is deleted under its reader ends it.
    this.#socket.on('error', () => undefined)
  }

  static open(name: string): TapDevice {
    const descriptor = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK)
    const request = Buffer.alloc(requestBytes)
    request.write(name, 'latin1')
    request.writeUInt16LE(flagTap | flagNoInfo, nameBytes)
    if (ioctl(descriptor, tunSetInterface, request) !== 0) {
      closeSync(descriptor)
      throw new Error(`the tap device ${name} cannot be opened: errno ${koffi.errno()}`)
    }
    return new TapDevice(name, descriptor)
  }

  /** Sends a frame; false: the device is down or was deleted, as a cable that is not plugged in. */
  send(frame: Uint8Array): boolean {
    // What has been deleted is closed by its reader, and another file may have its number.
    if (this.#socket.destroyed) return false
    try {
      writeSync(this.#descriptor, frame)
      return true
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EIO' || code === 'EBADFD' || code === 'EAGAIN' || code === 'ENOBUFS') return false
      throw error
    }
  }

  close(): void {
    this.#socket.destroy()
  }
}
