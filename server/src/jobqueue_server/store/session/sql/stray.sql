-- read: leases of sessions that have ended
-- A claim or hand-off whose epoch check passed in its own snapshot may commit after its session ended. Its row is then
-- leased to no worker. Only leases older than 10 s are read, so that one in flight is left as it is. A lease that is 10 s
-- in the future is from before the clock was set back.
-- $1 how long ago the session may have ended interval
-- $2 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
-- First the sessions, by when they ended: joined at once, a plan that was kept read every session that waits for retention.
-- Then what each holds, by its number: as a filter it read all that is leased, and under a held snapshot each dead entry of
-- its index (0.4 s after 4 million).
with ended as materialized (
    select s.id from worker_session s where s.ended_at > now() - $1::interval
        and now() between $2::timestamptz - interval '5 seconds' and $2::timestamptz + interval '5 seconds'
)
select l.id, l.attempts, l.session_id
from ended e
cross join lateral (
    select id, attempts, session_id
    from live_job
    where state = 2 and session_id = e.id and changed_at not between now() - interval '10 seconds' and now() + interval '10 seconds'
    limit 1000
) l
limit 1000
