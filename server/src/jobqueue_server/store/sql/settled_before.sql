-- read: what became of leases whose settlement did not match
-- $1 id uuid[]  $2 attempt int4[]
-- Tells ALREADY_APPLIED from STALE_LEASE from NOT_FOUND.
select
    a.id,
    a.attempt,
    l.id is not null as live,
    l.state, l.failures, l.losses,
    f.id is not null as finished,
    f.status, f.attempts as finished_attempt, f.session_id as finished_session,
    t.outcome, t.session_id as tried_session
from unnest($1::uuid[], $2::int4[]) as a (id, attempt)
left join live_job l on l.id = a.id
left join finished_job f on f.id = a.id
left join attempt t on t.job_id = a.id and t.attempt = a.attempt
