-- queue: about to be paused or resumed
-- $1 int4: namespace; $2 text: name
-- Locked in a statement of its own, so that the next one's snapshot holds every lane that was born before the lock.
select id, paused_at is not null as paused from queue where namespace_id = $1 and name = $2 for update
