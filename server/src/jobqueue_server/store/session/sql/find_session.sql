-- read: what became of a session, for a worker that it did not go on for
-- $1 session id int8  $2 digest of the token shown bytea, or null
-- $3 int4: namespace; $4 text: principal
select ended_at is not null as ended,
       coalesce($2::bytea in (token_hash, previous_token_hash), false) and namespace_id = $3::int4
       and principal in ('anonymous', $4::text) as own
from worker_session
where id = $1::int8
