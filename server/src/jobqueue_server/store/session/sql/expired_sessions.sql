-- read: sessions silent past their ttl, and those of a server dead for the greater of the ttl and 12 s
-- $1 server id int8  $2 how many int4
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- After an amnesty the greater of the ttl and 12 s is counted from it at least: a worker may wait 5 s between its tries.
-- Without a fresh heartbeat no session is expired: server_heartbeat.sql decides by the first new one whether an amnesty is due.
-- The server that had the session goes first, as in due.sql: only it knows which leases the worker never saw, and these
-- go back uncharged. Another server waits a second for it.
-- `late`: for how many seconds it could have been reaped by now.
-- In no order: by id the planner would walk the primary key, past all the sessions that ended and wait for retention.
select s.id, s.epoch, s.name,
    (select count(*)::int4 from live_job l where l.state = 2 and l.session_id = s.id) as leases,
    extract(epoch from now() - greatest(
        coalesce(s.silent_since + s.ttl, coalesce(v.heartbeat_at, s.opened_at) + greatest(s.ttl, interval '12 seconds')),
        a.granted_at + greatest(s.ttl, interval '12 seconds')
    ))::float8 as late
from worker_session s
left join server v on v.id = s.server_id
cross join amnesty a
where s.ended_at is null
    and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    and exists (select from server where heartbeat_at > now() - interval '10 seconds')
    and (
        s.silent_since + s.ttl <= now()
        or (
            s.silent_since is null
            and coalesce(v.heartbeat_at, s.opened_at) + greatest(s.ttl, interval '12 seconds') <= now()
        )
    )
    and a.granted_at + greatest(s.ttl, interval '12 seconds') <= now()
    and (
        s.server_id = $1::int8
        or coalesce(v.heartbeat_at <= now() - interval '5 seconds', true)
        or greatest(s.silent_since + s.ttl, a.granted_at + greatest(s.ttl, interval '12 seconds'))
            <= now() - interval '1 second'
    )
limit $2::int4
