-- schedule: one tick of its own fired, and nothing waited -> waits for its next tick; run: - -> fired
-- As write_runs.sql and advance_schedules.sql do it in two statements of 24 arrays. A tick that has a run is an error here.
-- Of schedules that this transaction has locked: $1 id int4[]  $2 tick timestamptz[]  $3 its job uuid[]
-- $4 next_at timestamptz[]  $5 text[]: open jobs, each an array as text  $6 failures_in_a_row int4[]  $7 keep_runs int4[]
-- $8 text: version of the time zones by which next_at was computed
-- Rows are found by their ids, and runs by a subquery for each schedule: so no plan that was made when there were few of them
-- joins with all that there are.
with fired as (
    update schedule s
    set time_zones = case when s.next_at is distinct from a.next_at then $8::text else s.time_zones end,
        next_at = a.next_at, last_tick = a.tick, open = a.open::uuid[], fired = s.fired + 1,
        skipped_in_a_row = 0, failures_in_a_row = a.failures, runs = s.runs + 1
    from unnest($1::int4[], $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::text[], $6::int4[], $7::int4[])
        as a (id, tick, job_id, next_at, open, failures, keep_runs)
    where s.id = a.id and s.id = any($1)
    returning s.id, s.runs, a.tick, a.job_id, a.keep_runs
),
runs as (
    insert into schedule_run (schedule_id, tick, nth, number, outcome, job_id, cause)
    select f.id, f.tick, 0, f.runs, 1, f.job_id, 1 from fired f
)
delete from schedule_run r
where r.ctid = any(array(
    select o.ctid
    from fired f
    cross join lateral (
        select r.ctid from schedule_run r
        where r.schedule_id = f.id and r.number <= f.runs - f.keep_runs and r.outcome <> 5
        order by r.number
        offset 0
    ) o
))
