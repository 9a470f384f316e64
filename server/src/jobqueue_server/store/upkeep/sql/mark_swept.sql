-- retention: how far a partition was swept
-- $1 name text  $2 swept_to uuid: so far; null: to its end
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
update job_partition
set swept_to = $2::uuid, swept_at = case when $2::uuid is null then now() else swept_at end
where name = $1::text
    and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
