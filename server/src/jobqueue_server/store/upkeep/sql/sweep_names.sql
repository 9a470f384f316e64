-- retention: names whose job is gone and whose time is over -> gone
-- $1 after which digest bytea  $2 how many are looked at int4
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- A name that an enqueue has locked is skipped. One that was taken since this snapshot is another version of its row, and
-- stays: a retry that respects names takes it for the same job again. Within the period of the name such a retry writes nothing,
-- so a name stays for a minute after its period.
with looked as materialized (
    select digest, job_id, holds_until, xmin as version from unique_hold where digest > $1::bytea order by digest limit $2::int4
),
free as materialized (
    select f.digest, f.version from looked f
    where coalesce(f.holds_until < now() - interval '1 minute', true)
        and not exists (select from live_job l where l.id = f.job_id)
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
),
locked as materialized (
    select u.digest from unique_hold u join free f on f.digest = u.digest and f.version = u.xmin
    for update of u skip locked
),
gone as (
    delete from unique_hold u using locked l where u.digest = l.digest
)
select
    (select count(*)::int4 from looked) as looked,
    (select count(*)::int4 from locked) as swept,
    (select digest from looked order by digest desc limit 1) as last
