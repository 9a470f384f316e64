-- queue: what it allows of the jobs of one key, how many of its jobs may wait, run and start, and how long those that ended
-- are kept, with the gates of its lanes
-- $1 int4: queue, locked by this transaction, with the kinds of its lanes; null of these is no limit: $2 int4: jobs that run at once
-- $3 int4: starts in a period  $4 int4: the period, in ms  $5 int4: starts at once  $6 int4: jobs that wait
-- $7 bool: whether each job must have a key  $8 int4: jobs of the queue that wait
-- $9 int2: the order of a key's jobs  $10 int2: what becomes of a key whose job failed; both as in the table
-- $11 int4: jobs of the queue that run at once; their rate, as $3 to $5: $12, $13, $14 int4
-- $15 bool: whether keys take turns  $16, $17, $18 interval: how long what succeeded, failed for good and was cancelled is kept
-- locks: 4
with changed as (
    update queue
    set key_max_running = $2, key_rate_count = $3, key_rate_period_ms = $4, key_rate_burst = $5, key_max_waiting = $6,
        require_key = $7, max_waiting = $8, key_order = $9, key_on_failure = $10, max_running = $11,
        rate_count = $12, rate_period_ms = $13, rate_burst = $14,
        key_fair = $15,
        retention_succeeded = $16, retention_failed_permanent = $17, retention_cancelled = $18,
        revision = revision + 1
    where id = $1
    returning queue
)
update lane set closed = closes(changed.queue, k)
from changed, kind k
where lane.queue_id = $1 and k.id = lane.kind_id and lane.closed <> closes(changed.queue, k)
