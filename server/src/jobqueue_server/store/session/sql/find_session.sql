-- read: what became of a session, for a worker that it did not go on for
-- $1 session id int8  $2 digest of the token shown bytea, or null
select ended_at is not null as ended, coalesce($2::bytea in (token_hash, previous_token_hash), false) as own
from worker_session
where id = $1::int8
