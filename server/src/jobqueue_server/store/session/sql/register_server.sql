-- server: - -> alive, with an amnesty where no server was heard for 10 s
-- $1 name text  $2 level int2  $3 version text
-- First it reads the heartbeats, as server_heartbeat.sql does: after a time without any server, workers still run their jobs
-- and come back with them.
-- A server whose level is too low gets no row: its id is null. The requirement is held until the commit, so that it is not
-- raised past this server meanwhile; where it was just raised, the row that is locked has the new level.
with required as materialized (
    select min_level, min_level <= $2::int2 as met from requirement for share
),
seen as materialized (
    select greatest(max(v.heartbeat_at), (select a.left_at from amnesty a)) as newest from server v
),
granted as (
    update amnesty set granted_at = now()
    from seen, required
    where seen.newest <= now() - interval '10 seconds' and required.met
    returning granted_at
),
registered as (
    insert into server (name, level, version) select $1::text, $2::int2, $3::text from required where met returning id
)
select (select id from registered) as id, now() as at, min_level, exists (select from granted) as amnesty from required
