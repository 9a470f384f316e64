-- fill: - -> queued, many at once, as enqueue.sql leaves them; for backlogs that enqueues would take an hour to make
-- $1 lane_id int4  $2 jobs int8  $3 payload bytea
-- Ids and run_at are of now, since nothing is ever stored with a run_at in the past: a claim would not look there.
with made as materialized (
    select uuidv7() as id, now() as run_at from generate_series(1, $2::int8)
),
body as (
    insert into job (id, run_at, lane_id, priority, max_attempts, payload)
    select id, run_at, $1::int4, 0, 3, $3::bytea from made
)
insert into live_job (id, run_at, lane_id, priority, max_attempts, state)
select id, run_at, $1::int4, 0, 3, 1 from made
