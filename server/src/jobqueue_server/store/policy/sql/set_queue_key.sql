-- queue: what is said of one of its keys -> calling, if one may be let in now
-- $1 int4: queue, locked by this transaction; $2 text: the key; $3 int4: how many of its jobs run at once, null: as the queue
-- says; $4 bool: whether it is paused; $5 text: by whom
-- Where nothing is said any more the row goes. The semaphore tells those that let jobs in, under its lock.
-- locks: 4 6
with said as (
    insert into queue_key as k (id, queue_id, name, max_running, paused_at, paused_by)
    select semaphore_of($1::int4, $2::text), $1::int4, $2::text, $3::int4, case when $4::bool then now() end, case when $4::bool then $5::text end
    where $3::int4 is not null or $4::bool
    on conflict (id) do update set
        name = excluded.name,
        max_running = excluded.max_running,
        paused_at = case when $4::bool then coalesce(k.paused_at, excluded.paused_at) end,
        paused_by = case when $4::bool and k.paused_at is not null then k.paused_by else excluded.paused_by end,
        revision = excluded.revision
),
unsaid as (
    delete from queue_key where id = semaphore_of($1::int4, $2::text) and $3::int4 is null and not $4::bool
),
told as (
    update queue q set says_of_keys = s.says
    from (
        select $3::int4 is not null or $4::bool or exists (
            select from queue_key k where k.queue_id = $1::int4 and k.id <> semaphore_of($1::int4, $2::text)
        ) as says
    ) s
    where q.id = $1::int4 and q.says_of_keys <> s.says
)
insert into semaphore as t (id, queue_id, taken, waiting, granted, own_limit)
select semaphore_of($1::int4, $2::text), $1::int4, 0, 0, 0, case when $4::bool then 0 else $3::int4 end
on conflict (id) do update set
    own_limit = excluded.own_limit,
    admit_at = case
        when t.waiting > 0
            and t.taken < coalesce(
                excluded.own_limit, (select q.key_max_running from queue q where q.id = $1::int4), 2147483647
            )
            then now()
        else t.admit_at
    end
returning t.id, t.admit_at <= now() as calls
