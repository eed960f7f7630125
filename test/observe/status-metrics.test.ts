import t from 'tap'
import { MetricRegistry } from '../../src/observe/metric-registry.ts'
import { gatewayMetrics } from '../../src/observe/metrics.ts'
import { collectStatus } from '../../src/observe/status-metrics.ts'
import type { GatewayStatus } from '../../src/observe/status.ts'
import { gatewayStatus, shop } from './sample-status.ts'

function scrapeOf(status: () => GatewayStatus): () => Map<string, string> {
  const registry = new MetricRegistry()
  collectStatus(registry, gatewayMetrics(registry), status)
  return () => new Map(registry.expose().split('\n').filter(line => !line.startsWith('#') && line !== '')
    .map(line => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]))
}

void t.test('a scrape shows the same figures as status, in base units', t => {
  const samples = scrapeOf(() => gatewayStatus)()
  const expected: Record<string, string> = {
    'tailgate_protection_state{guest="shop",state="protected"}': '1',
    'tailgate_protection_state{guest="shop",state="syncing"}': '0',
    'tailgate_generation{guest="shop"}': '3',
    'tailgate_active_host{guest="shop",host="host-a"}': '1',
    'tailgate_active_host{guest="shop",host="host-b"}': '0',
    'tailgate_heartbeat_age_seconds{guest="shop",host="host-b"}': '0.03',
    'tailgate_connections{guest="shop",state="open"}': '40',
    'tailgate_service_connections{guest="shop",service="redis"}': '41',
    'tailgate_service_info{guest="shop",service="redis",release="epoch"}': '1',
    'tailgate_logged_lsn{guest="shop"}': '1207',
    'tailgate_committed_lsn{guest="shop"}': '1200',
    'tailgate_commit_lag_seconds{guest="shop"}': '0.0004',
    'tailgate_held_bytes{guest="shop"}': '2048',
    'tailgate_checkpoint_age_seconds{guest="shop"}': '2.1',
    'tailgate_tail_records{guest="shop"}': '307',
    'tailgate_link_up{peer="host-a"}': '1'
  }
  for (const [name, value] of Object.entries(expected)) t.equal(samples.get(name), value, name)
  t.end()
})

void t.test('a change of state moves the 1, and what becomes unknown becomes NaN', t => {
  let status = gatewayStatus
  const scrape = scrapeOf(() => status)
  scrape()
  const [primary, backup] = shop.hosts
  t.ok(primary && backup)
  if (primary === undefined || backup === undefined) return
  status = {
    ...gatewayStatus,
    guests: [{
      ...shop, protection: { state: 'lost', reason: 'died', todo: '' }, checkpoint: null, tail: null,
      activeHost: null, hosts: [{ ...primary, link: 'down', heartbeatAgeMs: null }, backup]
    }]
  }
  const samples = scrape()
  t.equal(samples.get('tailgate_protection_state{guest="shop",state="protected"}'), '0')
  t.equal(samples.get('tailgate_protection_state{guest="shop",state="lost"}'), '1')
  t.equal(samples.get('tailgate_active_host{guest="shop",host="host-a"}'), '0')
  t.equal(samples.get('tailgate_link_up{peer="host-a"}'), '0')
  t.equal(samples.get('tailgate_heartbeat_age_seconds{guest="shop",host="host-a"}'), 'NaN')
  t.equal(samples.get('tailgate_checkpoint_age_seconds{guest="shop"}'), 'NaN')
  t.equal(samples.get('tailgate_tail_bytes{guest="shop"}'), 'NaN')
  t.end()
})

void t.test('every line of a scrape is in the exposition format', t => {
  const registry = new MetricRegistry()
  const metrics = gatewayMetrics(registry)
  collectStatus(registry, metrics, () => gatewayStatus)
  metrics.buildInfo.with({ version: '0.1.0', node: 'v20', part: 'gateway' }).value = 1
  metrics.commitSeconds.with({ guest: 'shop' }).observe(0.002)
  metrics.connectionsEnded.with({ guest: 'shop', service: 'redis', end: 'C-' }).value++
  const text = registry.expose()
  const label = '[a-z_]+="(?:[^"\\\\\\n]|\\\\[\\\\n"])*"'
  const sample = new RegExp(`^[a-z_]+(?:\\{${label}(?:,${label})*\\})? (?:-?[0-9.e+-]+|NaN|[+-]Inf)$`)
  const comment = /^# (HELP [a-z_]+ .+|TYPE [a-z_]+ (counter|gauge|histogram))$/
  for (const line of text.trimEnd().split('\n')) {
    t.ok(comment.test(line) || sample.test(line), line)
  }
  t.match(text, /tailgate_commit_duration_seconds_bucket\{guest="shop",le="0\.0025"\} 1\n/)
  t.ok(text.endsWith('\n'))
  t.end()
})
