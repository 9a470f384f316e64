-- How many jobs may wait in a queue. A null costs no byte, and no row is rewritten.

alter table queue add column max_waiting int4,
    add constraint "a queue lets 1 to 1000000 jobs wait, or any number" check (max_waiting between 1 and 1000000);
comment on column queue.max_waiting is 'How many of its jobs may wait before enqueues are refused. Null: any number.';
