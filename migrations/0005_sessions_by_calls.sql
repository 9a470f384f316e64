-- Sessions of workers without a stream: what such a worker said of itself, so that any server can claim for it.

alter table worker_session add column greeting jsonb;
comment on column worker_session.greeting is 'What a worker that makes calls takes: subscriptions, capacity, form of payloads. Null: it has a stream.';
