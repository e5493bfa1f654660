/** Bytes of data in one page, as they are stored; at least one job, however large. */
export const pageBytes = 4_194_304

/** Behind (priority, seq), which the index on waiting jobs is ordered by; sizes are known without reading the data. */
export const pageOfWaiting = `
SELECT id, data, added_at_ms AS at, priority || '.' || seq AS cursor FROM (
  SELECT *, sum(pg_column_size(data)) OVER (ORDER BY priority, seq) - pg_column_size(data) AS before FROM (
    SELECT id, data, added_at_ms, priority, seq FROM bullmq.job
    WHERE queue = $1 AND state = 'waiting' AND (priority, seq) > ($2::int, $3::bigint)
    ORDER BY priority, seq LIMIT $4
  ) AS first
) AS sized WHERE before < $5 ORDER BY priority, seq`

/** Ids as a JSON array, and what the ledger is to say of them (null: nothing). The state as text, that it isn't the index on waiting jobs that is gone through, but the primary key. */
export const removeWaiting = `
WITH gone AS (
  DELETE FROM bullmq.job WHERE queue = $1 AND state::text = 'waiting'
  AND id = ANY (ARRAY(SELECT jsonb_array_elements_text($2::jsonb))) RETURNING id
), said AS (
  INSERT INTO sluice.ledger_leaving SELECT $1, id, $3 FROM gone WHERE $3::text IS NOT NULL
  ON CONFLICT (queue, id) DO UPDATE SET leaving = excluded.leaving
)
SELECT 1 FROM gone`

/** Who is written down, and whoever has jobs: from one queue's name to the next by the index, however many jobs there are. */
export const allOwners = `
WITH RECURSIVE queue (name) AS (
  (SELECT queue FROM bullmq.job ORDER BY queue LIMIT 1)
  UNION ALL
  SELECT (SELECT job.queue FROM bullmq.job WHERE job.queue > queue.name ORDER BY job.queue LIMIT 1)
  FROM queue WHERE queue.name IS NOT NULL
)
SELECT split_part(name, '.', 1) AS owner FROM queue WHERE name IS NOT NULL UNION SELECT owner FROM sluice.owner`
