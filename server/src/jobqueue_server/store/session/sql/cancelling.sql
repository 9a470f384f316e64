-- read: the running jobs that are to stop, of one server's sessions
-- $1 server id int8
-- By the index of what is to stop, which has few rows; from a server's sessions it would be thousands of look-ups.
with asked as materialized (
    select id, attempts, session_id, coalesce(cancel_reason, '') as reason, deadline - now() as left
    from live_job where cancel_requested_at is not null and session_id is not null
)
select a.id, a.attempts, a.session_id, a.reason, a.left
from asked a
join worker_session s on s.id = a.session_id
where s.server_id = $1::int8
