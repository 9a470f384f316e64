-- retention: servers that died long ago, and whose sessions are gone -> gone
-- $1 age interval: the retention and a day
-- $2 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
with gone as (
    delete from server s
    where s.heartbeat_at < now() - $1::interval
        and now() between $2::timestamptz - interval '5 seconds' and $2::timestamptz + interval '5 seconds'
        and not exists (select from worker_session w where w.server_id = s.id)
    returning s.id
)
select count(*)::int4 as swept from gone
