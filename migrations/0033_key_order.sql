-- Strict order of the jobs of one key, and what becomes of a key whose job failed. No row is rewritten; a null costs no byte.

alter table queue
    add column key_order int2
        constraint "keys go in strict order, or in none" check (key_order = 1),
    add column key_on_failure int2
        constraint "a failure holds a key, or cancels what waits for it" check (key_on_failure in (2, 3)),
    add constraint "strict order lets one job of a key run at once" check (key_order is null or key_max_running = 1),
    add constraint "a failure stops keys that have an order" check (key_on_failure is null or key_order is not null);
comment on column queue.key_order is '1: jobs of one key start in the order in which their enqueues were answered. Null: no such order.';
comment on column queue.key_on_failure is 'After a job of a key with an order failed or was cancelled. 2: the key is blocked. 3: what waits for it is cancelled. Null: the next one goes.';

alter table turnstile
    add column last_at timestamptz,
    add column blocked_by uuid,
    add column cancels_to timestamptz;
comment on column turnstile.last_at is 'The run_at of the last job that came, which that of the next one exceeds. Null: its queue has no strict order.';
comment on column turnstile.blocked_by is 'The job that failed or was cancelled, since when no other one is let in. Null: none.';
comment on column turnstile.cancels_to is 'Of a blocked key: its jobs that wait with a run_at up to this are cancelled, and then it goes on. Null: none is.';
-- These columns change where a key is blocked alone, so other updates stay HOT.
create index turnstile_blocked on turnstile (queue_id) where blocked_by is not null;
create index turnstile_cancels on turnstile (id) where cancels_to is not null;
