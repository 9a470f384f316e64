-- audit: semaphores against the live rows that they count; those of keys without jobs -> gone
-- $1 after which semaphore int8, excluded  $2 how many to look at int4  $3 how many live rows to count of each int4
-- `drifted` should name none: the statement's one snapshot has each semaphore as its live rows are. Of keys with more rows
-- than it may count it compares what it can.
-- `counted` has how many keys with jobs there are by queue, and what their jobs wait for, if any do.
-- A semaphore is deleted only under its lock and as it is then; an enqueue that comes at the same moment makes it again.
with looked as materialized (
    select t.id, t.queue_id, t.taken, t.waiting, t.tat, t.own_limit, t.blocked_by, t.paused_until, t.admit_at
    from semaphore t
    where t.id > $1::int8
    order by t.id
    limit $2::int4
),
compared as materialized (
    select
        k.id, k.queue_id,
        k.taken = 0 and k.waiting = 0 and k.own_limit is null and k.blocked_by is null
            and coalesce(k.tat <= now(), true) and coalesce(k.paused_until <= now(), true) as unused,
        (select count(*) from (select from live_job l where l.semaphore_id = k.id and l.hold is null limit $3::int4) l) as taken,
        (select count(*) from (select from live_job l where l.semaphore_id = k.id and l.hold = 1 limit $3::int4) l) as waiting,
        k.taken as taken_told, k.waiting as waiting_told,
        case
            when k.blocked_by is not null then 'blocked'
            when k.paused_until > now() then 'paused'
            when k.waiting = 0 then 'open'
            when k.admit_at > now() then 'rate'
            else 'at_limit'
        end as state
    from looked k
),
counted as (
    select queue_id, state, count(*)::int4 as keys, sum(taken_told)::int8 as tokens
    from compared
    where taken_told > 0 or waiting_told > 0
    group by queue_id, state
),
idle as materialized (
    select t.id
    from semaphore t
    where t.id = any(array(select id from compared where unused and taken = 0 and waiting = 0))
        and t.taken = 0 and t.waiting = 0 and t.own_limit is null and t.blocked_by is null
        and coalesce(t.tat <= now(), true) and coalesce(t.paused_until <= now(), true)
    order by t.id
    for update skip locked
),
gone as (
    delete from semaphore t where t.id = any(array(select id from idle)) returning t.id
),
drifted as (
    select id, queue_id from compared
    where taken <> least(taken_told, $3::int4) or waiting <> least(waiting_told, $3::int4)
)
select
    (select count(*)::int4 from looked) as looked,
    (select max(id) from looked) as last,
    (select count(*)::int4 from gone) as gone,
    (select array_agg(id) from drifted) as drifted,
    (select array_agg(queue_id) from drifted) as drifted_queues,
    (select array_agg((queue_id, state, keys, tokens)) from counted) as counted
