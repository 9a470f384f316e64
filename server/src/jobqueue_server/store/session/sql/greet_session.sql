-- session: open -> heard by its calls
-- $1 session id int8  $2 epoch int4  $3 greeting text (JSON)
-- It was resumed a moment ago by a worker that has no stream, or no longer.
update worker_session set greeting = $3::text::jsonb, silent_since = now()
where id = $1::int8 and epoch = $2::int4 and ended_at is null
returning id
