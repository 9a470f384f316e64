-- server: alive -> alive, with an amnesty where no server was heard for 10 s
-- $1 server id int8; $2 jsonb: what its workers take, null: as before. One row written each few seconds stands for every running job of this server.
-- First it reads the other heartbeats. If none is fresher than 10 s, the database or every server was away. Then no server
-- could hear a worker, and every reaping is put off. A reaping needs a fresh heartbeat, which becomes visible together with
-- the amnesty: so nothing is reaped before it. Two servers that read at the same time both grant it, at the same moment.
-- After the clock was set back, times that were stored before lie in the future, and the reaper would wait until then. They
-- become now, also those of servers that died. A time may be ahead of a statement that began earlier by up to a second.
-- Locks: its own row while it holds none, then the amnesty. Other rows that are locked are left to the next heartbeat.
-- Written by an array of ids: a join read all the sessions that ended, where statistics were old.
with mine as materialized (
    select v.id from server v where v.id = $1::int8 for update
),
seen as materialized (
    select greatest(max(v.heartbeat_at), (select a.left_at from amnesty a)) as newest,
        count(*) filter (where v.id <> $1::int8 and v.heartbeat_at > now() - interval '10 seconds')::int4 as peers
    from server v
    where exists (select from mine)
),
granted as (
    update amnesty a
    set granted_at = case when due or a.granted_at > now() then now() else a.granted_at end,
        left_at = case when a.left_at > now() then now() else a.left_at end
    from (select newest <= now() - interval '10 seconds' as due from seen) s
    where due or greatest(a.granted_at, a.left_at) > now() + interval '1 second'
    returning due
),
told as materialized (
    select coalesce(bool_or(due), false) as amnesty from granted
),
ahead as materialized (
    select v.id from server v cross join told
    where v.heartbeat_at > now() + interval '1 second' and v.id <> $1::int8
    for update of v skip locked
),
set_back as (
    update server set heartbeat_at = now() where id = any(array(select id from ahead))
),
sessions_ahead as materialized (
    select s.id from worker_session s cross join told
    where s.ended_at is null and greatest(s.silent_since, s.opened_at) > now() + interval '1 second'
    for update of s skip locked
),
sessions_set_back as (
    update worker_session s
    set silent_since = case when s.silent_since > now() then now() else s.silent_since end,
        opened_at = case when s.opened_at > now() then now() else s.opened_at end
    where s.id = any(array(select id from sessions_ahead))
)
update server set heartbeat_at = now(), load = coalesce($2::jsonb, load)
from seen, told
where id = $1::int8
returning now() as at, peers, amnesty, (select r.min_level from requirement r) as min_level,
    (select s.since from standstill s) as standing_since
