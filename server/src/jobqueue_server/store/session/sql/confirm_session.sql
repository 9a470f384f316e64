-- session: open -> open, its previous token void
-- $1 session id int8  $2 epoch int4
update worker_session set previous_token_hash = null
where id = $1::int8 and epoch = $2::int4 and previous_token_hash is not null
