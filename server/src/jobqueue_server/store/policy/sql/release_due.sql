-- release: held back until its run_at -> held back by its key, once that time has come
-- $1 how many jobs at most int4
-- The one way to the semaphore but the enqueue of a job that may start at once: retries, releases, jobs with a delay, and
-- those of a transaction that has more to do. admit.sql lets them in.
-- locks: 6
with due as materialized (
    select l.ctid as at
    from live_job l
    where l.state = 3 and l.hold = 2 and l.run_at <= now()
    order by l.run_at
    limit $1
    for update skip locked
),
moved as (
    update live_job l set hold = 1 from due r where l.ctid = r.at
    returning l.semaphore_id, l.lane_id
),
turned as (
    insert into semaphore (id, queue_id, taken, waiting, granted, admit_at)
    select m.semaphore_id, n.queue_id, 0, m.jobs, 0, now()
    from (select semaphore_id, count(*)::int4 as jobs, min(lane_id) as lane_id from moved group by semaphore_id) m
    cross join lateral (select queue_id from lane where id = m.lane_id) n
    order by m.semaphore_id
    on conflict (id) do update set
        waiting = semaphore.waiting + excluded.waiting, admit_at = coalesce(semaphore.admit_at, excluded.admit_at)
    returning id, admit_at
)
select
    (select count(*)::int4 from moved) as moved,
    (select array_agg(id) from turned where admit_at <= now()) as calling
