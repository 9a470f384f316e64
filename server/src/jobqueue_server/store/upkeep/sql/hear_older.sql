-- retention: when a server was last heard that does not make sure of its lanes
-- $1 int2: the level since which servers do
-- Kept, because the row of a server goes (sweep_servers.sql), and what it stored counts from then on.
with heard as materialized (
    select r.older_heard_at as before, greatest(r.older_heard_at, (select max(s.heartbeat_at) from server s where s.level < $1)) as at
    from retention_sweep r
),
kept as (
    update retention_sweep r set older_heard_at = h.at from heard h where h.at > h.before
)
select at from heard
