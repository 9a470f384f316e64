-- server: - -> alive, with an amnesty where no server was heard for 10 s
-- $1 name text
-- It looks first, as beat.sql does: after a time without any server its workers run on, and come back with their jobs.
with seen as materialized (
    select greatest(max(v.heartbeat_at), (select a.left_at from amnesty a)) as newest from server v
),
granted as (
    update amnesty set granted_at = now()
    from seen
    where seen.newest <= now() - interval '10 seconds'
    returning granted_at
)
insert into server (name) values ($1::text) returning id, now() as at, exists (select from granted) as amnesty
