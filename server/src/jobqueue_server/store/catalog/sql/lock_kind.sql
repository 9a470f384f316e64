-- kind: locked for a change of what is declared of it
-- $1 int4: namespace; $2 text: its name
-- Who changes it waits here, and lanes of it can be made meanwhile. What is apart from it is read once it is locked
-- (get_declaration.sql).
-- locks: 5
select id, name, schema, min_backoff_ms, max_backoff_ms, max_attempts, timeout_ms,
       max_running, rate_count, rate_period_ms, rate_burst, slot_weight, declared_at is not null as declared
from kind
where namespace_id = $1 and name = $2
for no key update
