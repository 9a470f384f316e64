-- retention: servers that died long ago, and whose sessions are gone -> gone
-- $1 age interval: the retention and a day
with gone as (
    delete from server s
    where s.heartbeat_at < now() - $1::interval
        and not exists (select from worker_session w where w.server_id = s.id)
    returning s.id
)
select count(*)::int4 as swept from gone
