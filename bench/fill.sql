-- fill: - -> queued, many at once, as enqueue.sql leaves them; for backlogs that enqueues would take an hour to make
-- $1 lane_id int4  $2 jobs int8  $3 payload bytea
-- Ids and run_at are of the moment that each row is made: a floor can move past what was claimed, as it can past jobs of
-- many enqueues. None is in the past, since nothing is ever stored so: a claim would not look there.
with made as materialized (
    select uuidv7() as id, clock_timestamp() as run_at from generate_series(1, $2::int8)
),
body as (
    insert into job (id, run_at, lane_id, priority, max_attempts, payload)
    select id, run_at, $1::int4, 0, 3, $3::bytea from made
)
insert into live_job (id, run_at, lane_id, priority, max_attempts, state)
select id, run_at, $1::int4, 0, 3, 1 from made
