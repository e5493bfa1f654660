import type { Entering, LeavingEntry, LedgerStore, OpenEntry, TotalLine } from '../core/ledger.ts'
import type { QueueName } from '../core/queue.ts'
import type { Backend } from './backend.ts'
import type { EmbeddedDatabase } from './embedded-database.ts'
import { leavingText, openEntryOf } from './ledger-text.ts'
import { bullNameOf, decodeId, encodeId } from './names.ts'

/**
 * The tables, and a trigger that enters a job in the statement that inserts it: whatever BullMQ's SQL is, both are there or neither,
 * and one sync of the disk serves both. A job's name, which BullMQ leaves to its users, carries what the job brings in.
 */
export const ledgerTables = `
CREATE TABLE IF NOT EXISTS sluice.ledger_entry (
  queue text NOT NULL, id text NOT NULL, number bigserial, tally text NOT NULL, PRIMARY KEY (queue, id));
CREATE UNIQUE INDEX IF NOT EXISTS ledger_entry_number ON sluice.ledger_entry (queue, number);
CREATE TABLE IF NOT EXISTS sluice.ledger_leaving (queue text NOT NULL, id text NOT NULL, leaving text NOT NULL, PRIMARY KEY (queue, id));
CREATE TABLE IF NOT EXISTS sluice.ledger_total (
  queue text NOT NULL, side text NOT NULL, rule text NOT NULL, what text NOT NULL, messages bigint NOT NULL,
  PRIMARY KEY (queue, side, rule, what));
CREATE TABLE IF NOT EXISTS sluice.ledger_series (
  queue text NOT NULL, series text NOT NULL, rule text NOT NULL, following bigint NOT NULL, PRIMARY KEY (queue, series, rule));
DELETE FROM sluice.ledger_series;

CREATE OR REPLACE FUNCTION sluice.ledger_add(of_queue text, sums jsonb) RETURNS void LANGUAGE sql AS $$
  INSERT INTO sluice.ledger_total AS total
  SELECT of_queue, line->>0, line->>1, line->>2, sum((line->>3)::bigint) FROM jsonb_array_elements(sums) AS line GROUP BY 1, 2, 3, 4
  ON CONFLICT (queue, side, rule, what) DO UPDATE SET messages = total.messages + excluded.messages
$$;

CREATE OR REPLACE FUNCTION sluice.ledger_enter(of_queue text, of_id text, given jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  part jsonb;
  next_number bigint;
  twice bigint;
BEGIN
  INSERT INTO sluice.ledger_entry (queue, id, tally) VALUES (of_queue, of_id, given->>'tally') ON CONFLICT DO NOTHING;
  IF NOT FOUND THEN RETURN; END IF;
  PERFORM sluice.ledger_add(of_queue, (SELECT jsonb_agg('["in"]'::jsonb || line) FROM jsonb_array_elements(given->'tally') AS line));
  FOR part IN SELECT * FROM jsonb_array_elements(given->'ranges') LOOP
    SELECT coalesce(max(following), 0) INTO next_number FROM sluice.ledger_series
      WHERE queue = of_queue AND series = given->>'series' AND rule = part->>0;
    twice := least(next_number, (part->>2)::bigint + 1) - (part->>1)::bigint;
    IF twice > 0 THEN PERFORM sluice.ledger_add(of_queue, jsonb_build_array(jsonb_build_array('twice', part->>0, of_id, twice))); END IF;
    INSERT INTO sluice.ledger_series AS known VALUES (of_queue, given->>'series', part->>0, (part->>2)::bigint + 1)
      ON CONFLICT (queue, series, rule) DO UPDATE SET following = greatest(known.following, excluded.following);
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION sluice.ledger_enter_added() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM sluice.ledger_enter(NEW.queue, NEW.id, NEW.name::jsonb);
  RETURN NULL;
END $$;

CREATE OR REPLACE TRIGGER sluice_ledger AFTER INSERT ON bullmq.job
  FOR EACH ROW WHEN (NEW.name LIKE '{%') EXECUTE FUNCTION sluice.ledger_enter_added();

CREATE OR REPLACE FUNCTION sluice.ledger_settle(of_queue text, given jsonb, sums jsonb) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (
    SELECT 1 FROM jsonb_to_recordset(given) AS settled(id text, entry text, leaving text)
    LEFT JOIN sluice.ledger_entry AS entered ON entered.queue = of_queue AND entered.id = settled.id
    LEFT JOIN sluice.ledger_leaving AS written ON written.queue = of_queue AND written.id = settled.id
    LEFT JOIN bullmq.job ON job.queue = of_queue AND job.id = settled.id
    WHERE job.id IS NOT NULL OR settled.leaving <> coalesce(written.leaving, '')
      OR settled.entry <> coalesce(entered.number || ':' || entered.tally, '')
  ) THEN RETURN false; END IF;
  DELETE FROM sluice.ledger_entry WHERE queue = of_queue AND id IN (SELECT line->>'id' FROM jsonb_array_elements(given) AS line);
  DELETE FROM sluice.ledger_leaving WHERE queue = of_queue AND id IN (SELECT line->>'id' FROM jsonb_array_elements(given) AS line);
  PERFORM sluice.ledger_add(of_queue, sums);
  RETURN true;
END $$`

/**
 * Lets a statement's commit go without a sync of its own: the next one that syncs takes it along, in order. What is written here is of
 * use only together with a later statement (the job's end), or can be done again (settling).
 */
const unsynced = `set_config('synchronous_commit', 'off', true)`

/** A job's name: `job`, or what it brings in, for the trigger above. */
export function jobNameOf(entering: Entering | undefined): string {
  if (entering === undefined) return 'job'
  const { tally, numbers } = entering
  return JSON.stringify({ tally, ...numbers })
}

/** The ledger in tables beside BullMQ's. */
export function createEmbeddedLedger(
  database: Pick<EmbeddedDatabase, 'query'>,
  attempt: Backend['attempt'],
  decode: Backend['decode'],
): LedgerStore {
  const run = async <Row>(text: string, params: readonly unknown[]) =>
    (await attempt(() => database.query(text, params))).rows as readonly Row[]

  return {
    async enter(queue, jobs) {
      const given = jobs.map(({ id, entering }) => ({
        id: encodeId(id),
        entering: JSON.parse(jobNameOf(entering)) as unknown,
      }))
      await run(
        `SELECT sluice.ledger_enter($1, job.id, given.entering) FROM jsonb_to_recordset($2::jsonb) AS given(id text, entering jsonb)
         JOIN bullmq.job ON job.queue = $1 AND job.id = given.id`,
        [nameOf(queue), JSON.stringify(given)],
      )
    },
    // Its connection is never lost without its jobs, so nothing is written again here.
    async leave(queue, leaving, onlyEntered = false) {
      if (leaving.length === 0 || onlyEntered) return
      const given = leaving.map((each) => ({ id: encodeId(each.id), leaving: leavingText(each.leaving) }))
      await run(
        `INSERT INTO sluice.ledger_leaving SELECT $1, id, leaving FROM jsonb_to_recordset($2::jsonb) AS given(id text, leaving text)
         WHERE ${unsynced} = 'off' ON CONFLICT (queue, id) DO UPDATE SET leaving = excluded.leaving`,
        [nameOf(queue), JSON.stringify(given)],
      )
    },
    async totals(queue) {
      // One statement, so that the totals hold the entries up to this number and no others.
      const rows = await run<Omit<TotalLine, 'messages'> & { readonly messages: unknown; readonly last: unknown }>(
        `SELECT side, rule, what, messages, (SELECT max(number) FROM sluice.ledger_entry WHERE queue = $1) AS last
         FROM sluice.ledger_total WHERE queue = $1`,
        [nameOf(queue)],
      )
      const lines = rows.map(({ side, rule, what, messages }) => ({ side, rule, what, messages: Number(messages) }))
      return { lines, lastNumber: Number(rows[0]?.last ?? 0) }
    },
    async census(queue) {
      const text = `SELECT (SELECT count(*) FROM bullmq.job WHERE queue = $1) AS jobs,
        (SELECT count(*) FROM sluice.ledger_entry WHERE queue = $1) AS entries`
      const [row] = await run<{ readonly jobs: unknown; readonly entries: unknown }>(text, [nameOf(queue)])
      return { jobs: Number(row?.jobs ?? 0), entries: Number(row?.entries ?? 0) }
    },
    async open(queue, after, limit) {
      const rows = await run<{ readonly id: string; readonly entry: string }>(
        `SELECT id, number || ':' || tally AS entry FROM sluice.ledger_entry WHERE queue = $1 AND number > $2 ORDER BY number LIMIT $3`,
        [nameOf(queue), after, limit],
      )
      return rows.flatMap(({ id, entry }): OpenEntry[] => openEntryOf(decodeId(id), entry))
    },
    async leaving(queue, from, limit) {
      const rows = await run<{ id: string; leaving: string; entry: string | null; there: boolean }>(
        `SELECT written.id, leaving, number || ':' || tally AS entry, job.id IS NOT NULL AS there FROM sluice.ledger_leaving AS written
         LEFT JOIN sluice.ledger_entry AS entered ON entered.queue = written.queue AND entered.id = written.id
         LEFT JOIN bullmq.job ON job.queue = written.queue AND job.id = written.id
         WHERE written.queue = $1 AND written.id > $2 ORDER BY written.id LIMIT $3`,
        [nameOf(queue), from, limit],
      )
      const entries = rows.map(({ id, leaving, entry, there }): LeavingEntry => ({
        id: decodeId(id),
        leaving,
        entry: entry ?? undefined,
        isThere: there,
      }))
      const last = rows.at(-1)
      return { entries, ...(rows.length === limit && last !== undefined && { next: last.id }) }
    },
    async left(queue, ids) {
      const rows = await run<{ readonly id: string; readonly leaving: string }>(
        'SELECT id, leaving FROM sluice.ledger_leaving WHERE queue = $1 AND id IN (SELECT jsonb_array_elements_text($2::jsonb))',
        [nameOf(queue), JSON.stringify(ids.map(encodeId))],
      )
      return new Map(rows.map(({ id, leaving }) => [decodeId(id), leaving]))
    },
    async settle(queue, entries, sums) {
      const given = entries.map(({ id, entry = '', leaving }) => ({ id: encodeId(id), entry, leaving }))
      const [row] = await run<{ readonly settled: boolean }>(
        `SELECT sluice.ledger_settle($1, $2::jsonb, $3::jsonb) AS settled WHERE ${unsynced} = 'off'`,
        [nameOf(queue), JSON.stringify(given), linesOf(sums)],
      )
      return row?.settled === true
    },
    async count(queue, sums) {
      await run(`SELECT sluice.ledger_add($1, $2::jsonb)`, [nameOf(queue), linesOf(sums)])
    },
    async jobs(queue, ids, withData) {
      const rows = await run<{ readonly id: string; readonly data: unknown }>(
        `SELECT id, ${withData ? 'data' : 'NULL AS data'} FROM bullmq.job
         WHERE queue = $1 AND id IN (SELECT jsonb_array_elements_text($2::jsonb))`,
        [nameOf(queue), JSON.stringify(ids.map(encodeId))],
      )
      return new Map(rows.map(({ id, data }) => [decodeId(id), withData ? decode(data) : null]))
    },
  }
}

function nameOf(queue: QueueName): string {
  return bullNameOf(queue).name
}

function linesOf(sums: readonly TotalLine[]): string {
  return JSON.stringify(sums.map(({ side, rule, what, messages }) => [side, rule, what, messages]))
}
