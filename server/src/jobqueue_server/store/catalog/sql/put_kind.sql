-- kind: declared, or declared anew
-- $1 int4: namespace; $2 text: name; $3 text: schema or null; $4, $5 int4: bounds of the backoff in ms, or both null;
-- $6 int2: max_attempts or null; $7 int4: timeout in ms or null; $8 int4: jobs that run at once, $9 int4: starts in a period,
-- $10 int4: the period, in ms, $11 int4: starts at once; null: no limit; $12 int2: slots that a job takes, null: 1
-- Who calls this has locked the row (lock_kind.sql), and sets the gates of its lanes in the same transaction (close_lanes_of_kind.sql).
-- updated_at is the version of the row, by which servers drop what they compiled: it must move even when two writes share
-- one reading of the clock.
-- locks: 5
insert into kind (
    namespace_id, name, schema, min_backoff_ms, max_backoff_ms, max_attempts, timeout_ms,
    max_running, rate_count, rate_period_ms, rate_burst, slot_weight, declared_at
)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, now())
on conflict (namespace_id, name) do update
set schema = excluded.schema,
    min_backoff_ms = excluded.min_backoff_ms,
    max_backoff_ms = excluded.max_backoff_ms,
    max_attempts = excluded.max_attempts,
    timeout_ms = excluded.timeout_ms,
    max_running = excluded.max_running,
    rate_count = excluded.rate_count,
    rate_period_ms = excluded.rate_period_ms,
    rate_burst = excluded.rate_burst,
    slot_weight = excluded.slot_weight,
    declared_at = coalesce(kind.declared_at, excluded.declared_at),
    updated_at = greatest(clock_timestamp(), kind.updated_at + interval '1 microsecond')
returning id
