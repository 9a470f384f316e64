-- A worker pauses the key of its job, as where a service said that it has had enough calls for now. Beside `calls_at`, which
-- each token that comes back sets anew. No row is rewritten; a null costs no byte.

alter table turnstile add column paused_until timestamptz;
comment on column turnstile.paused_until is 'Until then none is let in, as a worker said. Null, or past: no worker has paused the key.';
