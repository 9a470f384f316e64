-- session: open or silent -> ended
-- $1 session id int8  $2 epoch int4: a session that was resumed meanwhile stays as it is
update worker_session set ended_at = now(), silent_since = null
where id = $1::int8 and epoch = $2::int4 and ended_at is null
returning id
