/** Every metric, declared once: what it counts and its labels. observe/ serves them; parts only name them. */
export const metricTable = {
  sluice_messages_accepted_total: { help: 'Messages acknowledged as durable.', labels: ['door'] },
  sluice_messages_refused_total: { help: 'Messages refused for good, by reason.', labels: ['door', 'reason'] },
  sluice_messages_deferred_total: {
    help: 'Messages answered "later": over a limit (429) or the queue away (503).',
    labels: ['door', 'status'],
  },
  sluice_messages_in_doubt_total: {
    help: 'Messages answered 503 of which a part may have been queued.',
    labels: ['door'],
  },
  sluice_rules: { help: 'Rules in force.', labels: [] },
  sluice_messages_unmatched_total: {
    help: "Accepted messages whose topic no rule's filters match, wherever they went (unmatched).",
    labels: [],
  },
  sluice_rule_not_found_total: {
    help: "Messages refused because the rule that their topic names is not there; AWS IoT's RuleNotFound.",
    labels: ['door'],
  },
  sluice_authentications_failed_total: { help: 'Refused credentials, by door.', labels: ['door'] },
  sluice_authentications_limited_total: {
    help: 'Attempts that were not looked at, because too many had failed before.',
    labels: ['door'],
  },
  sluice_decisions_denied_total: {
    help: 'Denials by action and by what decided: policy/statement, none, or reserved.',
    labels: ['action', 'by'],
  },
  sluice_tls_handshakes_failed_total: { help: 'TLS handshakes that failed, by reason.', labels: ['reason'] },
  sluice_events_total: { help: 'Lifecycle events of Sluice itself, by what became of them.', labels: ['outcome'] },
  sluice_rule_outcomes_total: {
    help: 'What rules made of messages: deliveries, unmatched, empty, failed.',
    labels: ['rule', 'outcome'],
  },
  sluice_envelopes_added_total: { help: 'Envelopes added to queues.', labels: ['worker'] },
  sluice_envelope_entries_total: { help: 'Messages in the envelopes added.', labels: ['worker'] },
  sluice_deliveries_total: {
    help: 'Messages by what became of them: delivered, retried, failed.',
    labels: ['worker', 'outcome'],
  },
  sluice_worker_blocked: { help: '1 while nothing can be delivered until someone acts.', labels: ['worker'] },
  sluice_dead_letters_total: {
    help: 'Messages that became dead letters, by kind of failure.',
    labels: ['owner', 'kind'],
  },
  sluice_dead_letters_dropped_total: {
    help: 'The oldest dead letters of a bridge, of messages that were refused, dropped over the bound of how many are kept.',
    labels: ['owner'],
  },
  sluice_bridge_connected: { help: '1 while the bridge is connected.', labels: ['bridge'] },
  sluice_bridge_sessions_lost_total: {
    help: 'Times the broker had forgotten our session: messages may be lost there.',
    labels: ['bridge'],
  },
  sluice_bridge_messages_dropped_total: {
    help: 'Messages dropped: over the QoS 0 buffer (qos0: drop), retained ones (retained: never), QoS 0 at a stop while the queue was away.',
    labels: ['bridge', 'reason'],
  },
  sluice_bridge_in_flight: { help: 'Messages taken from the broker and not yet acknowledged.', labels: ['bridge'] },
  sluice_broker_clients: { help: 'Clients connected to the embedded broker.', labels: [] },
  sluice_broker_retained_messages: { help: 'Retained messages that the embedded broker keeps.', labels: [] },
  sluice_broker_connections_closed_total: {
    help: 'Connections that the embedded broker closed by itself, by reason.',
    labels: ['reason'],
  },
  sluice_broker_messages_dropped_total: {
    help: 'Messages that the embedded broker gave up on the way in (qos0, will) or out to a subscriber, by reason.',
    labels: ['reason'],
  },
  sluice_worker_backlog_bytes: {
    help: 'What a worker has in the queue: work, failures and dead letters, estimated; also of rules and bridges, as rule:NAME.',
    labels: ['worker'],
  },
  sluice_worker_backlog_limit_bytes: {
    help: 'What it may have; at this bound what is for it is refused, unless its file says otherwise.',
    labels: ['worker'],
  },
  sluice_messages_dropped_total: {
    help: 'Messages let fall because the config says so by name: full (drop-oldest, drop-newest), kept-age, kept-messages, kept-bytes.',
    labels: ['owner', 'reason'],
  },
  sluice_queue_entries: {
    help: 'Envelopes in a queue, by state; each holds up to some hundreds of messages.',
    labels: ['worker', 'state'],
  },
  sluice_ledger_messages: {
    help: 'Messages by the ledger, since it was begun and over restarts: how they came into a queue (side in) and what became of them (side out).',
    labels: ['worker', 'queue', 'rule', 'side', 'what'],
  },
  sluice_ledger_pending_messages: {
    help: 'Messages in a queue by the sums of the ledger.',
    labels: ['worker', 'queue'],
  },
  sluice_ledger_wrong_messages: {
    help: 'Messages that were added twice, added behind the ledger, or left without an outcome; sluice ledger names them.',
    labels: ['worker', 'queue'],
  },
} as const satisfies Readonly<Record<string, { readonly help: string; readonly labels: readonly string[] }>>

export type MetricName = keyof typeof metricTable
export type Labels<Name extends MetricName> = Readonly<Record<(typeof metricTable)[Name]['labels'][number], string>>

/** Counts and sets; observe/ makes it from prom-client. */
export interface Metrics {
  count<Name extends MetricName>(name: Name, labels: Labels<Name>, by?: number): void
  set<Name extends MetricName>(name: Name, labels: Labels<Name>, value: number): void
}

/** Counts nothing: for commands and tests. */
export const uncounted: Metrics = { count() {}, set() {} }
