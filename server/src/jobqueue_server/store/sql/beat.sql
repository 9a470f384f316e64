-- server: alive -> alive, with an amnesty where no server was heard for 10 s
-- $1 server id int8. One row written each few seconds stands for every running job of this server.
-- It looks first. Where no heartbeat was fresher than 10 s - the database was away, or every server - nobody could hear a
-- worker, and every reaping is put off. A reaping in turn wants a fresh heartbeat, which becomes visible together with the
-- amnesty: so nothing is reaped before it. Two that look at once both grant it, within the same moment.
with seen as materialized (
    select greatest(max(v.heartbeat_at), (select a.left_at from amnesty a)) as newest,
        count(*) filter (where v.id <> $1::int8 and v.heartbeat_at > now() - interval '10 seconds')::int4 as peers
    from server v
),
granted as (
    update amnesty set granted_at = now()
    from seen
    where seen.newest <= now() - interval '10 seconds'
    returning granted_at
)
update server set heartbeat_at = now()
from seen
where id = $1::int8
returning now() as at, peers, exists (select from granted) as amnesty
