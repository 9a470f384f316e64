-- What an operator says of one key of a queue: a limit of its own, or a pause. The statements that let jobs in read it in
-- the turnstile that they have locked, so a key of which nothing is said costs no look-up. A null costs no byte.

alter table turnstile add column own_limit int4;
comment on column turnstile.own_limit is 'Of a key of which queue_key says something: how many may be let in; 0: none, it is paused. Null: as its queue says.';
-- Etags are of these numbers: each change has another. 1 stands for a key of which nothing is said.
create sequence queue_key_revision start 2;

create table queue_key (
    id          int8 primary key,
    queue_id    int4 not null references queue,
    name        text not null,
    max_running int4 constraint "a key of its own limit lets 1 to 1,000,000 jobs run at once" check (max_running between 1 and 1000000),
    paused_at   timestamptz,
    paused_by   text,
    revision    int8 not null default nextval('queue_key_revision')
);
comment on table queue_key is 'Keys of which something is said that holds for them alone. Each has a turnstile, also without jobs.';
comment on column queue_key.id is 'The id of its turnstile: stile_of(queue_id, name).';
comment on column queue_key.max_running is 'How many of its jobs run at once. Null: as many as its queue says.';
comment on column queue_key.paused_at is 'Since when none of its jobs is let in. Null: it is not paused.';
comment on column queue_key.paused_by is 'The principal who paused it. Null: it is not known.';
create index queue_key_of_queue on queue_key (queue_id);
