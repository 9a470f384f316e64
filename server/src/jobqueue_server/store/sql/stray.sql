-- read: leases of sessions that have ended
-- A claim or hand-off whose epoch check passed in its own snapshot may commit after its session ended; its row is then
-- leased to nobody. Older than 10 s, so that one in flight is left alone.
-- $1 how long ago the session may have ended interval
select l.id, l.attempts, l.session_id
from live_job l
where l.state = 2
    and l.changed_at < now() - interval '10 seconds'
    and l.session_id in (
        select s.id from worker_session s where s.ended_at > now() - $1::interval
    )
limit 1000
