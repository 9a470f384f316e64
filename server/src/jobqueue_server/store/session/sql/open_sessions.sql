-- read: the sessions that have not ended, of those that a server knows and those that count on its heartbeat
-- $1 server id int8  $2 session id int8[]
-- Each at most twice. `counted_on`: it counts as heard as long as this server writes heartbeats.
select s.id, s.epoch, false as counted_on, s.drain_at is not null as drains
from worker_session s
where s.id = any($2::int8[]) and s.ended_at is null
union all
select s.id, s.epoch, true, s.drain_at is not null
from worker_session s
where s.server_id = $1::int8 and s.ended_at is null and s.silent_since is null
