-- session: open or silent -> the same, and it gets no more jobs, for good
-- $1 int8: session; $2 int4: namespace; $3 text: principal; $4 text: why
-- The first drain stands. The row is all that counts: a notice tells the server that has the stream, and what is resumed reads it.
update worker_session
set drain_at = coalesce(drain_at, now()),
    drained_by = case when drain_at is null then $3::text else drained_by end,
    drain_reason = case when drain_at is null then $4::text else drain_reason end
where id = $1::int8 and ended_at is null and namespace_id = $2
returning id
