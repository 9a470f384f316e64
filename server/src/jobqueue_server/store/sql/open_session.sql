-- session: - -> open
-- $1 server id int8  $2 name text  $3 labels text (JSON) or null  $4 ttl interval  $5 token digest bytea
insert into worker_session (server_id, name, labels, ttl, token_hash)
values ($1::int8, $2::text, $3::text::jsonb, $4::interval, $5::bytea)
returning id, epoch
