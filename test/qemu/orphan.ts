import { QemuProcess } from '../../src/engine/qemu-process.ts'

/*
 * A process with a QEMU, to be killed. Arguments: the directory, and QEMU's program. Says the QEMU's id.
 */
const [directory = '', qemu = ''] = process.argv.slice(2)
const { pid } = await QemuProcess.launch({
  program: [qemu], arguments: ['-M', 'none', '-chardev', `socket,id=held,path=${directory}/held`],
  network: [], directory, incoming: false, timeoutMs: 10_000
})
process.stdout.write(`${pid ?? 0}\n`)
