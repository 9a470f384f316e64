-- What callers see of workers, and that an operator drains one. Written when a session is opened, resumed or drained.
alter table worker_session
    add column client text,
    add column address text,
    add column takes jsonb,
    add column drain_at timestamptz,
    add column drained_by text,
    add column drain_reason text;
comment on column worker_session.client is 'The client library that its worker uses, as it says. Null: it does not.';
comment on column worker_session.address is 'The IP address from which its worker connected last, as the server saw it. Null: not known.';
comment on column worker_session.takes is
    'What a worker with a stream takes: subscriptions, and the slots that it began with. Null: it makes calls (greeting).';
comment on column worker_session.drain_at is 'Since when it gets no more jobs, for good. Null: it gets some.';
comment on column worker_session.drained_by is 'The principal who drained it. Null: its worker is shutting down.';
comment on column worker_session.drain_reason is 'Why, as that principal or the worker said.';

-- An operation may change jobs that wait, too.
alter table operation drop constraint "a verb is retry, cancel, delete or backfill";
alter table operation add constraint "a verb is retry, cancel, delete, backfill or update" check (verb between 1 and 5) not valid;
comment on column operation.verb is '1 retry, 2 cancel, 3 delete, 4 backfill of a schedule, 5 update.';
