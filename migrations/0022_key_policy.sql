-- What a queue allows of the jobs of one key. All null: its keys are marks. `revision` grows with each change of a policy.
-- No row is rewritten: a constant default is known to the catalog alone. The checks look at the few rows of `queue`.

alter table queue
    add column revision int8 not null default 1,
    add column key_max_running int4
        constraint "a key lets 1 to 1,000,000 jobs run at once" check (key_max_running between 1 and 1000000),
    add column key_rate_count int4
        constraint "a rate is of 1 to 1,000,000 starts" check (key_rate_count between 1 and 1000000),
    add column key_rate_period_ms int4
        constraint "a rate has a period of 1 ms to 24 h" check (key_rate_period_ms between 1 and 86400000),
    add column key_rate_burst int4
        constraint "a rate lets 1 to 1,000,000 jobs start at once" check (key_rate_burst between 1 and 1000000),
    add column key_max_waiting int4
        constraint "a key lets 1 job or more wait" check (key_max_waiting > 0),
    add column require_key bool,
    add constraint "a rate has a count and a period, and starts are a microsecond apart or more" check (
        (key_rate_count is null) = (key_rate_period_ms is null)
        and (key_rate_burst is null or key_rate_count is not null)
        and (key_rate_count is null or key_rate_count <= key_rate_period_ms::int8 * 1000)
    );
comment on column queue.revision is 'Grows with each change of what stands here of keys: the etag of the queue.';
comment on column queue.key_max_running is 'How many jobs of one key run at once. Null: no limit.';
comment on column queue.key_rate_count is 'How many jobs of one key start in each key_rate_period_ms. Null: no limit.';
comment on column queue.key_rate_burst is 'How many of them may start at once. Null: what starts in 50 ms by the rate, 1 at least.';
comment on column queue.key_max_waiting is 'How many jobs of one key may wait for it. Null: no limit.';
comment on column queue.require_key is 'True: a job without a key is refused. Null: it is taken.';
