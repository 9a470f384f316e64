-- session: open or silent -> open, in its next epoch
-- $1 session id int8  $2 digest of the token shown bytea  $3 digest of the new token bytea  $4 server id int8
-- $5 int4: namespace; $6 text: principal; $7 text: credential
-- $8 client text  $9 address text  $10 what one with a stream takes text (JSON); each or null
-- The epoch is won by compare and set on the token. The token shown stays good until a frame arrives under the new
-- epoch (confirm_session.sql), so that a lost Welcome costs nothing.
update worker_session
set epoch = epoch + 1, previous_token_hash = $2::bytea, token_hash = $3::bytea, server_id = $4::int8, silent_since = null,
    namespace_id = $5::int4, principal = $6::text, credential = $7::text,
    client = $8::text, address = $9::text, takes = $10::text::jsonb
where id = $1::int8 and ended_at is null and $2::bytea in (token_hash, previous_token_hash)
  and namespace_id = $5::int4 and principal in ('anonymous', $6::text)
returning id, epoch, name, ttl, drain_at is not null as drains
