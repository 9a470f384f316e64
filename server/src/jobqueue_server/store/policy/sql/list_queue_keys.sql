-- read: a page of the keys of a queue
-- $1 int4: namespace; $2 text: queue; $3 int4: which ones; 0: all, 1: at their limit, 2: paused, 3: those that jobs wait for,
-- 4: those that a failed job blocks
-- $4 int4: how many keys of all queues to look at; $5 int4: of the queue's, how many to keep, those that most jobs wait for
-- $6 int4, $7 int8: where the kept begin: (waiting, id) of the last of the page before; null: at the beginning
-- $8 text: only names after this one; null: the page is in the order of the kept, else by name; $9 int4: rows at most
-- It reads all semaphores: an index by queue would have to be written with each start of a job that waited.
-- A semaphore has no name: that of a key of which something is said stands in queue_key, that of others in their live jobs,
-- or in the job that blocks it.
-- A key whose worker has just paused it has jobs that wait for their time alone: it is named if one of these is among the
-- first 10,000, which are read only where there is such a key.
-- Without keys there is one row of nulls, for `capped`: whether there may be more than were looked at, or than were kept.
-- The "C" order is that of the code points, the same on every server whatever its locale, so that a page token holds.
with found as materialized (
    select
        l.id, l.taken, l.waiting, k.name, k.max_running, k.paused_at, k.paused_by, k.revision,
        coalesce(k.max_running, q.key_max_running) as allowed,
        case when q.key_rate_count is not null and k.paused_at is null then l.admit_at end as admit_at,
        coalesce(nullif(q.key_rate_burst, 0), greatest(ceil(q.key_rate_count * 50.0 / q.key_rate_period_ms), 1)::int4) as burst,
        case when l.paused_until > now() then l.paused_until end as paused_until, l.blocked_by
    from (
        select
            t.id, t.queue_id, t.taken, t.waiting, t.admit_at, t.paused_until,
            case when t.cancels_to is null then t.blocked_by end as blocked_by
        from semaphore t
        limit $4::int4
    ) l
    join queue q on q.id = l.queue_id
    left join queue_key k on k.id = l.id
    where q.namespace_id = $1 and q.name = $2
        and (
            l.taken > 0 or l.waiting > 0 or k.id is not null or l.paused_until > now() or l.blocked_by is not null
        )
        and case $3::int4
            when 1 then l.taken >= coalesce(k.max_running, q.key_max_running)
            when 2 then k.paused_at is not null or l.paused_until > now()
            when 3 then l.waiting > 0
            when 4 then l.blocked_by is not null
            else true
        end
),
kept as materialized (
    select *
    from found
    where $6::int4 is null or waiting < $6 or (waiting = $6 and id > $7::int8)
    order by waiting desc, id
    limit $5::int4
),
coming as materialized (
    select distinct on (l.semaphore_id) l.semaphore_id, l.id
    from (
        select l.semaphore_id, l.id
        from live_job l
        where l.state = 3 and l.hold = 2
            and (select bool_or(k.name is null and k.taken = 0 and k.waiting = 0) from kept k)
        order by l.run_at
        limit 10000
    ) l
    where l.semaphore_id is not null
    order by l.semaphore_id
),
page as (
    select *
    from (
        select
            t.id, t.taken, t.waiting, t.max_running, t.paused_at, t.paused_by, t.revision, t.allowed, t.admit_at, t.burst,
            t.paused_until, t.blocked_by,
            coalesce(
                t.name,
                (
                    select j.key
                    from (
                        (select l.id from live_job l where l.semaphore_id = t.id and l.hold is null limit 1)
                        union all
                        (select l.id from live_job l where l.semaphore_id = t.id and l.hold = 1 limit 1)
                    ) l
                    join job j on j.id = l.id
                    limit 1
                ),
                (select j.key from job j where j.id = coalesce(r.id, t.blocked_by))
            ) as name
        from kept t
        left join coming r on r.semaphore_id = t.id
    ) named
    where name is not null and ($8::text is null or name > $8 collate "C")
    order by case when $8::text is null then waiting end desc, case when $8::text is null then id end, name collate "C"
    limit $9::int4
)
select
    p.id, p.taken, p.waiting, p.max_running, p.paused_at, p.paused_by, p.revision, p.allowed, p.paused_until, p.blocked_by, p.name,
    -- As in get_queue_key.sql.
    case
        when p.taken < p.burst or p.burst > (
            select count(*)
            from (select from live_job l where l.semaphore_id = p.id and l.hold is null and l.state in (1, 4) limit p.burst) line
        )
            then p.admit_at
    end as next_start_at,
    exists (select from semaphore offset $4::int4) or ($8 is not null and (select count(*) from found) > $5) as capped
from (values (true)) as one
left join page p on true
order by case when $8::text is null then waiting end desc, case when $8::text is null then id end, name collate "C"
