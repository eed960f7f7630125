import { certs, type CertsOptions } from '../../src/cli/certs.ts'
import { loadTlsMaterial, type TlsMaterial, type TlsPaths } from '../../src/link/tls-material.ts'

/** Where `certs` puts what `name` needs. */
export function pathsOf(dir: string, name: string): TlsPaths {
  return { ca: `${dir}/ca.crt`, cert: `${dir}/${name}.crt`, key: `${dir}/${name}.key` }
}

/** Makes certificates in `dir` and loads them, by name. `now` is when they are made and looked at. */
export async function madeCertificates<Name extends string>(
  dir: string, names: readonly Name[], options: Partial<CertsOptions> = {}
): Promise<Record<Name, TlsMaterial>> {
  await certs({ out: dir, names, print: () => undefined, ...options })
  const made = await Promise.all(names.map(async name =>
    [name, await loadTlsMaterial(pathsOf(dir, name), options.now)] as const))
  return Object.fromEntries(made) as Record<Name, TlsMaterial>
}
