import { collectDefaultMetrics, Counter, Gauge, Registry } from 'prom-client'
import { type Labels, type MetricName, type Metrics, metricTable } from '../core/metrics.ts'

export interface ServedMetrics extends Metrics {
  /** The page that Prometheus scrapes. */
  page(): Promise<string>
  readonly contentType: string
}

/** Makes every metric of the table: a counter where the name ends in `_total`, a gauge otherwise, and Node's own. */
export function createMetrics(): ServedMetrics {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  const counters = new Map<string, Counter>()
  const gauges = new Map<string, Gauge>()
  for (const [name, { help, labels }] of Object.entries(metricTable)) {
    const shape = { name, help, labelNames: [...labels], registers: [registry] }
    if (name.endsWith('_total')) counters.set(name, new Counter(shape))
    else gauges.set(name, new Gauge(shape))
  }
  return {
    count: <Name extends MetricName>(name: Name, labels: Labels<Name>, by = 1) => counters.get(name)?.inc(labels, by),
    set: <Name extends MetricName>(name: Name, labels: Labels<Name>, value: number) =>
      gauges.get(name)?.set(labels, value),
    page: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
