-- session: open or silent -> the same, locked while leases that its worker never saw go back
-- $1 session id int8[]  $2 epoch int4[]  $3 whether it must be silent bool[]; each session once
-- $4 expected timestamptz: no silence is over while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- A resume waits for the lock, and then finds these leases gone; after a resume the epoch is another one, and its worker
-- may hold them. A silent one has 15 s from its last frame; and as a reaping (reap_sessions.sql) this wants a server that
-- is heard, and 15 s since an amnesty.
-- A session that is locked is being resumed or reaped: the next call reads it again.
with told as materialized (
    select * from unnest($1::int8[], $2::int4[], $3::bool[]) as t (id, epoch, silent)
)
select s.id
from worker_session s
join told t on t.id = s.id
where s.id = any($1::int8[])
    and s.epoch = t.epoch
    and s.ended_at is null
    and (
        not t.silent
        or (
            s.silent_since + interval '15 seconds' <= now()
            and now() between $4::timestamptz - interval '5 seconds' and $4::timestamptz + interval '5 seconds'
            and exists (select from server where heartbeat_at > now() - interval '10 seconds')
            and (select a.granted_at from amnesty a) + interval '15 seconds' <= now()
        )
    )
order by s.id
for update of s skip locked
