-- fill_waiting: - -> queued or held back, many at once, as enqueues leave them; for backlogs that enqueues would take an hour to make
-- $1 lane_id int4  $2 jobs int8  $3 payload bytea  $4 how long until they are due interval  $5 priority int2
-- $6 hold int2; null: they are in line  $7 how many keys they have in turns, key-0 and so on, int8; 0: none
-- The keys have their semaphores already, each with a job in line; these jobs wait for them. Answers the first id and the last.
with made as materialized (
    select uuidv7() as id, clock_timestamp() + $4::interval as run_at, i,
           case when $7::int8 > 0 then 'key-' || i % $7 end as key
    from generate_series(1, $2::int8) i
),
place as materialized (
    select queue_id from lane where id = $1::int4
),
body as (
    insert into job (id, run_at, lane_id, priority, max_attempts, payload, key)
    select id, run_at, $1, $5::int2, 3, $3::bytea, key from made
),
waits as (
    update semaphore t set waiting = t.waiting + m.jobs
    from (
        select semaphore_of((select queue_id from place), key) as id, count(*)::int4 as jobs
        from made where key is not null group by key
    ) m
    where t.id = m.id
),
live as (
    insert into live_job (id, run_at, lane_id, priority, max_attempts, state, hold, semaphore_id)
    select id, run_at, $1, $5, 3, case when $6::int2 is null then 1 else 3 end, $6,
           case when key is not null then semaphore_of((select queue_id from place), key) end
    from made
)
select (select id from made where i = 1) as first, (select id from made where i = $2) as last
