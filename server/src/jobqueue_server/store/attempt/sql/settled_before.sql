-- read: what became of leases whose settlement did not match
-- $1 id uuid[]  $2 attempt int4[]  $3 namespace int4[], of the session that settles
-- Tells ALREADY_APPLIED from STALE_LEASE. No row: NOT_FOUND.
-- The namespace is compared after the look-ups: as their filter it made a join that reads the whole of live_job.
-- The message lets this commit wait for the standbys that the settlement's was to wait for, as in find_keys.sql.
with told as materialized (
    select
        a.id,
        a.attempt,
        l.id is not null as live,
        l.state, l.failures, l.losses,
        f.id is not null as finished,
        f.status, f.attempts as finished_attempt, f.session_id as finished_session,
        t.outcome, t.session_id as tried_session,
        (
            select coalesce(
                n.namespace_id = a.namespace_id,
                (select q.namespace_id = a.namespace_id from queue q where q.id = n.queue_id)
            )
            from lane n where n.id = coalesce(l.lane_id, (select j.lane_id from job j where j.id = a.id))
        ) as own
    from unnest($1::uuid[], $2::int4[], $3::int4[]) as a (id, attempt, namespace_id)
    left join live_job l on l.id = a.id
    left join finished_job f on f.id = a.id
    left join attempt t on t.job_id = a.id and t.attempt = a.attempt
)
select
    *,
    case
        when current_setting('synchronous_standby_names') <> '' then pg_logical_emit_message(true, 'jobqueue', ''::text)
    end as confirmed
from told where own
