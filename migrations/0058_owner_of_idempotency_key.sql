-- Idempotency keys of different principals do not meet, except for the same request. So a key knows whose it is. An older server
-- writes none, and what it wrote is anybody's.
alter table idempotency_key add column owner bytea;
comment on column idempotency_key.owner is
    'The first 8 bytes of SHA-256 of the principal that used the key first. Null or empty: not known, as of an older server.';
