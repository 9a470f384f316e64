-- session: - -> open, or heard by its calls
-- $1 server id int8  $2 name text  $3 labels text (JSON) or null  $4 ttl interval  $5 token digest bytea
-- $6 greeting text (JSON) or null: a worker without a stream is counted as silent from each of its calls on.
-- $7 int4: namespace; $8 text: principal; $9 text: credential
-- $10 client text  $11 address text  $12 what one with a stream takes text (JSON); each or null
insert into worker_session (server_id, name, labels, ttl, token_hash, greeting, silent_since, namespace_id, principal,
                            credential, client, address, takes)
values (
    $1::int8, $2::text, $3::text::jsonb, $4::interval, $5::bytea, $6::text::jsonb, case when $6 is not null then now() end,
    $7::int4, $8::text, $9::text, $10::text, $11::text, $12::text::jsonb
)
returning id, epoch
