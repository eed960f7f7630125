import { messageOf, TailgateError } from '../base/errors.ts'

/** What is used of the package `pcap`, whose types do not name it. */
interface PcapModule {
  warningHandler: ((text: string) => void) | undefined
  createSession(device: string, options: Readonly<Record<string, unknown>>): {
    inject(frame: Uint8Array): void
    close(): void
  }
}

/** No frame is of this EtherType (IEEE 802, reserved): a session that only sends hears nothing. */
const nothing = 'ether proto 0xffff'

/**
 * Sends frames out of a network device as they are, through the package `pcap`, the only place that knows it.
 * Rejects with E_ENGINE where it is not installed or may not: CAP_NET_RAW is needed.
 */
export async function injectFrames(device: string, frames: readonly Uint8Array[]): Promise<void> {
  const pcap = await loadPcap()
  try {
    // It warns that the device has no IPv4 address, which is of no consequence for frames.
    pcap.warningHandler = () => undefined
    const session = pcap.createSession(device, {
      filter: nothing, buffer_size: 64 * 1024, buffer_timeout: 0, promiscuous: false
    })
    try {
      for (const frame of frames) session.inject(frame)
    } finally {
      session.close()
    }
  } catch (error) {
    throw new TailgateError('E_ENGINE', `no frame could be sent out of ${device}: ${messageOf(error)}; `
      + 'sending frames needs CAP_NET_RAW and a device that is up', { cause: error, context: { device } })
  }
}

/**
 * Loads what {@link injectFrames} needs, which takes its time once. Rejects with E_ENGINE where it is not
 * installed.
 */
export async function readyToInject(): Promise<void> {
  await loadPcap()
}

async function loadPcap(): Promise<PcapModule> {
  // By a name that the compiler does not follow: without the package its types are not there either.
  const name: string = 'pcap'
  try {
    const loaded = await import(name) as { readonly default: PcapModule }
    return loaded.default
  } catch (error) {
    throw new TailgateError('E_ENGINE', 'the package pcap is not installed, without which the move of a '
      + 'guest cannot be announced: install libpcap-dev and a compiler, and run npm install pcap && '
      + 'npm rebuild pcap', { cause: error })
  }
}
