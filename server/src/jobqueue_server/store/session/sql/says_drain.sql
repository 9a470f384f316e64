-- session: open -> open, its worker is shutting down
-- $1 session id int8  $2 epoch int4  $3 why text
-- For those who look at workers, and for a server that it may resume on. One that an operator drains stays so.
update worker_session set drain_at = now(), drain_reason = $3::text
where id = $1::int8 and epoch = $2::int4 and ended_at is null and drain_at is null
