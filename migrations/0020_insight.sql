-- What the workers of each server take, for all servers to read; who paused a queue, and why. A null costs no byte.
-- The load lies outside of its row where it is longer than 128 bytes, so that a heartbeat, which mostly does not change
-- it, does not copy it.

alter table server add column load jsonb, set (toast_tuple_target = 128);
comment on column server.load is 'What its workers take, by queue and kind: sessions, slots, free. Written with the heartbeat when it changed. Null: an older server.';
alter table queue add column paused_by text, add column pause_reason text;
comment on column queue.paused_by is 'The principal that paused it. Null: it is not paused, or an older server paused it.';
