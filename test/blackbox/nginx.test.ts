import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { requires } from '../requires.ts'
import { childrenOf } from './children.ts'
import { Front, modes, type Behind } from './front.ts'
import { quietPort } from './ports.ts'
import { Program, run } from './program.ts'

// nginx with large downloads, uploads and many short and kept connections.

const downloadBytes = 48 << 20
const uploadBytes = 24 << 20

interface Site extends Behind {
  readonly directory: string
  readonly hash: string
}

async function startNginx(t: Test, nginx: string): Promise<Site> {
  const directory = mkdtempSync(join(tmpdir(), 'tailgate-nginx-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  for (const name of ['www', 'up', 'tmp']) mkdirSync(join(directory, name), { mode: 0o777 })
  const large = randomBytes(downloadBytes)
  writeFileSync(join(directory, 'www', 'large'), large)
  writeFileSync(join(directory, 'www', 'small.txt'), 'small\n')
  const port = await quietPort()
  writeFileSync(join(directory, 'nginx.conf'), configuration(directory, port))
  const file = join(directory, 'nginx.conf')
  const program = new Program(t, nginx, ['-p', directory, '-c', file, '-e', 'stderr'])
  await program.says(/start worker process \d+/)
  return {
    ports: [port], pids: [program.pid, ...childrenOf(program.pid)], directory, hash: hashOf(large)
  }
}

function configuration(directory: string, port: number): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `  ${name}_temp_path ${directory}/tmp/${name};`).join('\n')
  return `daemon off;
user root;
worker_processes 1;
pid ${directory}/nginx.pid;
error_log stderr notice;
events { worker_connections 512; }
http {
  access_log off;
${temporary}
  server {
    listen 127.0.0.1:${port} backlog=1024;
    client_max_body_size 1g;
    root ${directory}/www;
    location /up/ { root ${directory}; dav_methods PUT; create_full_put_path on; }
  }
}
`
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}

for (const mode of modes) {
  void t.test(`nginx, ${mode}`, async (t) => {
    const nginx = requires(t, 'nginx')
    const curl = requires(t, 'curl')
    if (nginx === undefined || curl === undefined) return
    const site = await startNginx(t, nginx)
    const front = await Front.start(t, mode, site)
    const url = `http://127.0.0.1:${front.port}`
    await transfers(t, curl, url, site)
    await load(t, url, mode === 'checkpoint' ? 400 : 2000)
    if (mode === 'direct') return
    const metrics = await front.metrics()
    await front.settled(t, metrics.sum('tailgate_connections_accepted_total'))
    t.equal(front.events.filter(({ event }) => event === 'limit.reached').length, 0)
  })
}

/** A large download and a large upload, both with equal hashes, and two requests over one connection. */
async function transfers(t: Test, curl: string, url: string, { directory, hash }: Site): Promise<void> {
  const got = join(directory, 'got')
  const down = await run(t, curl, ['-sS', '--fail', '-o', got, `${url}/large`])
  t.same([down.status, down.error], [0, ''], 'the download ends well')
  t.equal(hashOf(readFileSync(got)), hash, 'the download is what the server has')

  const sent = randomBytes(uploadBytes)
  const source = join(directory, 'sent')
  writeFileSync(source, sent)
  const up = await run(t, curl, ['-sS', '--fail', '-T', source, `${url}/up/it`])
  t.same([up.status, up.error], [0, ''], 'the upload ends well')
  t.equal(hashOf(readFileSync(join(directory, 'up', 'it'))), hashOf(sent), 'the server has what was sent')

  const small = `${url}/small.txt`
  const two = await run(t, curl, ['-sS', '--fail', small, small, '-w', '%{num_connects}\n'])
  t.same([two.status, two.out], [0, 'small\n1\nsmall\n0\n'], 'the second request took the same connection')
  const part = await run(t, curl, ['-sS', '-r', '1000-1999', '-o', got, '-w', '%{http_code}', `${url}/large`])
  t.same([part.out, readFileSync(got).length], ['206', 1000])
}

/** Many requests over many connections, new ones for each request and kept ones. */
async function load(t: Test, url: string, requests: number): Promise<void> {
  const ab = requires(t, 'ab')
  if (ab !== undefined) {
    for (const keep of [[], ['-k']]) {
      const { status, out } = await run(t, ab,
        ['-q', ...keep, '-n', String(requests), '-c', '20', `${url}/small.txt`])
      t.equal(status, 0)
      t.match(out, new RegExp(`Complete requests: +${requests}\n`))
      t.match(out, /Failed requests: +0\n/)
      t.notMatch(out, /Non-2xx/)
    }
  }
  const wrk = requires(t, 'wrk')
  if (wrk === undefined) return
  const { status, out } = await run(t, wrk, ['-t', '1', '-c', '20', '-d', '1s', `${url}/small.txt`])
  t.equal(status, 0)
  t.notMatch(out, /Socket errors|Non-2xx/)
}
