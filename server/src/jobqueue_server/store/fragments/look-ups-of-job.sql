-- All else that a reader sees of a job, each by a look-up that has one row at most.
-- blanks: of; more =
left join lateral (select * from live_job l where l.id = {of}.id limit 1) l on true
left join lateral (
    select
        {more}
        f.finished_at, f.reason, f.attempts, f.failures, f.losses, octet_length(f.output) as output_bytes
    from finished_job f where f.id = {of}.id limit 1
) f on true
left join lateral (select w.name from worker_session w where w.id = l.session_id limit 1) w on true
left join lateral (select g.* from job_progress g where g.job_id = {of}.id limit 1) g on true
left join lateral (
    select a.message as last_error from attempt a
    where a.job_id = {of}.id and a.message is not null
    order by a.attempt desc limit 1
) e on true
