-- session: open -> silent
-- $1 session id int8  $2 epoch int4  $3 how long ago its last frame was heard interval
update worker_session set silent_since = now() - $3::interval
where id = $1::int8 and epoch = $2::int4 and ended_at is null
returning silent_since
