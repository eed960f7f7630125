import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

const demo = fileURLToPath(new URL('../../dist/demo/main.js', import.meta.url))

interface Run {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

function run(args: readonly string[]): Promise<Run> {
  return new Promise(resolve => {
    execFile(process.execPath, [demo, ...args], { timeout: 120_000 }, (error, stdout, stderr) => {
      resolve({ status: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    })
  })
}

void t.test('a kill under load: nothing wrong, lost, repeated or reset', async t => {
  const { status, stdout, stderr } = await run(['--json'])
  t.equal(status, 0, stderr)
  const summary = JSON.parse(stdout) as Record<string, number>
  t.match(summary, { answeredWrongly: 0, lost: 0, repeated: 0, connectionsReset: 0 })
  t.equal(summary.requestsSent, summary.requestsAnswered)
  t.ok((summary.tailReplayedRecords ?? 0) > 0, 'there was a tail to replay')
})

void t.test('an option it does not know is an error with the usage', async t => {
  const { status, stderr } = await run(['--fast'])
  t.equal(status, 2)
  t.match(stderr, /--json[\s\S]*--keep/)
})
