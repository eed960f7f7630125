import { everybody, numbered } from '../../lab/frames.ts'
import { TapDevice } from '../../lab/tap-device.ts'

// A guest that never stops talking: run with a tap device and a MAC address.

const [, , device = '', mac = ''] = process.argv
const tap = TapDevice.open(device)
let number = 0

function talk(): void {
  for (let n = 0; n < 20; n++) tap.send(numbered(mac, everybody, ++number))
  setImmediate(talk)
}

process.stdout.write('talks\n', talk)
