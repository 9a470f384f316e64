-- session: heard by its calls -> the same, its ttl counted from now
-- $1 session id int8  $2 token digest bytea
-- $3 int4: namespace; $4 text: principal; $5 text: credential
-- A call is a frame under the newest epoch: it voids the previous token. While the session has a stream, that is what
-- it is heard by, and a call changes nothing.
update worker_session
set silent_since = case when silent_since is not null then now() end, previous_token_hash = null,
    credential = $5::text
where id = $1::int8 and token_hash = $2::bytea and ended_at is null
  and namespace_id = $3::int4 and principal in ('anonymous', $4::text)
returning id, epoch, name, ttl, greeting::text as greeting, silent_since is null as streams,
    drain_at is not null as drains
