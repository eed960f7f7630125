import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { programPath } from './program.ts'

/** The nginx of this machine. */
export interface Nginx {
  readonly program: string
  readonly stream: StreamModule
}

/** How nginx comes by its stream module, which forwards TCP. */
export type StreamModule =
  | { readonly kind: 'built in' }
  | { readonly kind: 'loaded', readonly file: string }
  | { readonly kind: 'missing' }

const debianModules = '/usr/lib/nginx/modules'

/** Reads `nginx -V`. `exists` says whether there is such a file. */
export function streamModuleOf(version: string, exists: (file: string) => boolean): StreamModule {
  const words = version.split(/\s+/)
  if (words.includes('--with-stream')) return { kind: 'built in' }
  const path = words.find((word) => word.startsWith('--modules-path='))?.slice('--modules-path='.length)
  const file = join(path ?? debianModules, 'ngx_stream_module.so')
  return exists(file) ? { kind: 'loaded', file } : { kind: 'missing' }
}

/** Undefined where nginx is not installed. */
export function installedNginx(): Nginx | undefined {
  const program = programPath('nginx')
  if (program === undefined) return undefined
  // It writes what it is to standard error.
  const { stderr } = spawnSync(program, ['-V'], { encoding: 'utf8', timeout: 5000 })
  return { program, stream: streamModuleOf(stderr, existsSync) }
}

/** The arguments that make nginx run `file` in the foreground, and tell its troubles from the start. */
export function nginxArgs(directory: string, file: string): string[] {
  return ['-p', directory, '-e', 'stderr', '-c', file]
}

/**
 * One process, which is the worker: what it uses is nginx's whole CPU time, and nothing outlives it when it
 * is killed.
 */
const oneWorker = [
  'daemon off;', 'master_process off;', 'error_log stderr warn;', 'pid nginx.pid;',
  'events { worker_connections 8192; }'
]

/** The `stream` contender: port by port to the services. */
export function streamFile(
  module: StreamModule, ports: readonly number[], services: readonly number[]
): string {
  const load = module.kind === 'loaded' ? [`load_module ${module.file};`] : []
  const servers = ports.map((port, index) =>
    `  server { listen 127.0.0.1:${port} backlog=4096; proxy_pass 127.0.0.1:${services[index]}; }`)
  return lines([
    ...load, ...oneWorker,
    'stream {', '  proxy_connect_timeout 5s;', '  proxy_timeout 1h;', '  proxy_half_close on;', ...servers,
    '}'
  ])
}

/** What the HTTP service answers with. */
export const httpBody = 'x'.repeat(128)

/** An HTTP service that answers from memory and keeps connections for as long as clients want. */
export function httpFile(port: number): string {
  // Without these, it makes directories where only root may.
  const places = ['client_body', 'proxy', 'fastcgi', 'scgi', 'uwsgi']
    .map((name) => `  ${name}_temp_path ${name};`)
  return lines([
    ...oneWorker,
    'http {', '  access_log off;', '  keepalive_timeout 1h;', '  keepalive_requests 1000000000;', ...places,
    `  server { listen 127.0.0.1:${port} backlog=4096; location / { return 200 '${httpBody}'; } }`, '}'
  ])
}

function lines(text: readonly string[]): string {
  return `${text.join('\n')}\n`
}
