import type { Config } from '../config/load.ts'
import { unmatchedRuleOf } from '../config/unmatched.ts'
import type { Metrics } from '../core/metrics.ts'
import type { RuleSet } from '../core/rule.ts'
import { compileRules } from '../rules/engine.ts'
import { type AccessOptions, createAccess, type Identities } from './access.ts'
import { accessOfBridge } from './bridges.ts'
import { expressionLimits } from './expression-limits.ts'

/** What a reload of ingest replaces, all of it at once. */
export interface Snapshot {
  readonly config: Config
  readonly access: Identities
  readonly rules: RuleSet
}

/** Compiles a configuration. Throws where it can't be had, and changes nothing. */
export function snapshotOf(
  config: Config,
  identities: Pick<AccessOptions, 'auth' | 'recordsVersion'>,
  metrics: Metrics,
): Snapshot {
  const bridges = config.settings.bridges.map(accessOfBridge)
  return {
    config,
    access: createAccess({ directory: config.directory, bridges, arn: config.settings.arn, ...identities, metrics }),
    rules: compileRules(config.rules, {
      unmatched: unmatchedRuleOf(config.settings, config.workers),
      limits: expressionLimits(config.settings.limits),
      kindOf: (worker) => config.workers.get(worker)?.kind,
    }),
  }
}
