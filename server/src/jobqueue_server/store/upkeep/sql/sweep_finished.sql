-- retention: finished -> gone
-- $1 after uuid, excluded  $2 before uuid, excluded: ids of one partition  $3 retention interval  $4 how many int4
-- $5 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- Locks the finished rows first, in the order of ids, as RetryJob and DeleteJob do; what they hold is skipped. The
-- range stands in every part, so that all other partitions are left out.
with expired as materialized (
    select f.id from finished_job f
    where f.id > $1::uuid and f.id < $2::uuid and f.finished_at < now() - $3::interval
        and now() between $5::timestamptz - interval '5 seconds' and $5::timestamptz + interval '5 seconds'
    order by f.id
    limit $4::int4
    for update skip locked
),
attempts as (
    delete from attempt
    where job_id = any(array(select id from expired)) and job_id > $1::uuid and job_id < $2::uuid
),
progress as (
    delete from job_progress where job_id = any(array(select id from expired))
),
body as (
    delete from job where id = any(array(select id from expired)) and id > $1::uuid and id < $2::uuid
),
ended as (
    delete from finished_job where id = any(array(select id from expired)) and id > $1::uuid and id < $2::uuid
)
select count(*)::int4 as swept, count(*)::int4 as looked, (array_agg(id order by id desc))[1] as last from expired
