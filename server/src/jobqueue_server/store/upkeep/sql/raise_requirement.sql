-- server: the level that is required -> $1, unless a server below it lives
-- $1 level int2
-- Answers the servers below it, and then nothing was changed. A server that was not heard for a minute does not count: its
-- sessions are over by then, and it ends by its first heartbeat.
-- A statement of its own after lock_requirement.sql, since it has to see the servers that registered meanwhile.
with older as materialized (
    select name, level from server
    where level < $1::int2 and heartbeat_at > clock_timestamp() - interval '1 minute'
),
raised as (
    update requirement set min_level = $1::int2
    where min_level < $1::int2 and not exists (select from older)
)
select name, level from older order by name
