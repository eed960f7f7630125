import t from 'tap'
import { runInNamespace } from './in-namespace.ts'

for (const part of ['machines', 'lines', 'failover', 'redirect', 'client-source']) {
  void t.test(`the lab: ${part}`, (t) => runInNamespace(t, new URL(`cases/${part}.ts`, import.meta.url)))
}
