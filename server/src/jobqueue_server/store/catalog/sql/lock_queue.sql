-- queue: about to be changed
-- $1 int4: namespace; $2 text: name
-- Locked in a statement of its own, so that the next one's snapshot holds every lane that was born before the lock.
-- locks: 4
select id, paused_at is not null as paused,
       revision, key_max_running, key_rate_count, key_rate_period_ms, key_rate_burst, key_max_waiting, require_key,
       key_order, key_on_failure, key_fair, max_waiting, max_running, rate_count, rate_period_ms, rate_burst,
       retention_succeeded, retention_failed_permanent, retention_cancelled
from queue
where namespace_id = $1 and name = $2
for update
