-- session: silent -> ended, if it is still silent past its ttl
-- $1 session id int8  $2 epoch int4. Checks again what expired_sessions.sql saw: a resume in between has a new epoch.
update worker_session set ended_at = now()
where id = $1::int8 and epoch = $2::int4 and ended_at is null
returning id
