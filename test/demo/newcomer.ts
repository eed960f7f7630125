import {
  appendFileSync, chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'

/** Debian's and npm's programs, as far as the demo asks them. What is there, is there as an empty file. */
const programs: Readonly<Record<string, string>> = {
  'dpkg-query': 'for name; do :; done; [ -e "$NEWCOMER/debian/$name" ] && printf installed',
  'apt-get': `
for word; do
  case $word in
    update) echo 'apt-get update' >>"$NEWCOMER/journal" ;;
    install)
      echo "apt-get $*" | sed 's/ -q .* install/ install/; s/ -[^ ]*//g' >>"$NEWCOMER/journal"
      installs=yes ;;
    -*|*=*) ;;
    *) [ -z "$installs" ] || : >"$NEWCOMER/debian/$word" ;;
  esac
done`,
  npm: `
verb=$1
echo "npm $*" | sed 's/ --no-audit.*//' >>"$NEWCOMER/journal"
shift
case $verb in
  install) for name in koffi raw-socket pcap; do
      mkdir -p "node_modules/$name"
      echo "require('node:fs').accessSync(__dirname + '/built')" >"node_modules/$name/index.js"
    done ;;
  rebuild)
    [ -e "$NEWCOMER/debian/build-essential" ] || { echo 'gyp ERR! there is no compiler' >&2; exit 1; }
    for name; do [ ! -d "node_modules/$name" ] || : >"node_modules/$name/built"; done ;;
esac`
}

/** A machine as a newcomer has it, on which the demo is prepared. Nothing of it is this one's. */
export class Newcomer {
  /** The directory of the program. */
  readonly root: string
  readonly directory = mkdtempSync(join(tmpdir(), 'tg-newcomer-'))

  /** It is the machine of this process until `t` is over. */
  constructor(t: Test) {
    const { directory } = this
    this.root = join(directory, 'tailgate')
    mkdirSync(join(directory, 'debian'))
    this.write('journal', '')
    for (const [name, script] of Object.entries(programs)) this.program(name, script)
    this.#script('tailgate/deploy/demo-guest/build.sh', 'echo build.sh >>"$NEWCOMER/journal"')
    const { PATH, NEWCOMER } = process.env
    const { getuid } = process
    process.env.PATH = `${join(directory, 'bin')}:${PATH ?? ''}`
    process.env.NEWCOMER = directory
    process.getuid = () => 0
    t.teardown(() => {
      process.env.PATH = PATH
      if (NEWCOMER === undefined) delete process.env.NEWCOMER
      if (getuid !== undefined) process.getuid = getuid
      rmSync(directory, { recursive: true })
    })
  }

  /** What was done and said, in its order. */
  get journal(): readonly string[] {
    return readFileSync(join(this.directory, 'journal'), 'utf8').trim().split('\n')
  }

  /** Where the demo says what it does. */
  readonly say = (line: string): void => {
    appendFileSync(join(this.directory, 'journal'), `said: ${line}\n`)
  }

  /** The machine has this program in the place of its own. @param script a shell's */
  program(name: string, script: string): void {
    this.#script(`bin/${name}`, script)
  }

  /** It has these Debian packages. */
  has(...packages: readonly string[]): void {
    for (const name of packages) this.write(`debian/${name}`, '')
  }

  /** An npm package is in its place. It can be loaded where it was built. */
  put(name: string, how: 'built' | 'not built'): void {
    const file = how === 'built' ? '' : "require('node:fs').accessSync(__dirname + '/built')\n"
    this.write(`tailgate/node_modules/${name}/index.js`, file)
  }

  #script(file: string, text: string): void {
    this.write(file, `#!/bin/sh\n${text}\n`)
    chmodSync(join(this.directory, file), 0o755)
  }

  /** @param file its path from the directory */
  write(file: string, text: string): void {
    const path = join(this.directory, file)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
}
