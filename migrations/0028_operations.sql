-- Operations on many jobs: what was asked for, how far it is, and which server works on it. A server that is not heard
-- for 10 s is followed by another, from where the last step that was committed has ended.

create table operation (
    id                  uuid not null,
    namespace_id        int4 not null references namespace,
    principal           text not null,
    verb                int2 not null,
    state               int2 not null default 1,
    request             jsonb not null,
    grants              jsonb not null,
    request_id          text,
    owner               int8,
    heard_at            timestamptz,
    position            uuid,
    looked              int8 not null default 0,
    changed             int8 not null default 0,
    skipped             int8 not null default 0,
    estimate            int8,
    estimate_capped     bool not null default false,
    sample_ids          uuid[] not null default '{}',
    cancel_requested_at timestamptz,
    created_at          timestamptz not null default now(),
    updated_at          timestamptz not null default now(),
    ended_at            timestamptz,
    error               text,
    primary key (id),
    constraint "a verb is retry, cancel or delete" check (verb between 1 and 3),
    constraint "a state is waiting, running, succeeded, cancelled or failed" check (state between 1 and 5),
    constraint "an operation has ended in a state of the end, and in no other" check ((state >= 3) = (ended_at is not null)),
    constraint "an operation runs on a server, and waits for one without" check (state >= 3 or (state = 2) = (owner is not null)),
    constraint "counters of an operation are never negative" check (looked >= 0 and changed >= 0 and skipped >= 0),
    constraint "a request id names one operation of a principal" unique (namespace_id, principal, request_id)
) with (fillfactor = 50);
comment on table operation is 'Changes of many jobs by a filter. The id is a UUID v7: jobs with greater ids were enqueued later, and are left alone.';
comment on column operation.verb is '1 retry, 2 cancel, 3 delete.';
comment on column operation.state is '1 waiting for a server, 2 running, 3 succeeded, 4 cancelled, 5 failed.';
comment on column operation.grants is 'What its principal was permitted when it was made: no job beyond it is changed.';
comment on column operation.owner is 'The row of the server that works on it.';
comment on column operation.heard_at is 'When that server last said so.';
comment on column operation.position is 'The last job that was looked at; null: none was.';
-- Lists, newest first. No column that a step writes is in an index, so that its updates stay on their page (HOT).
create index operation_by_namespace on operation (namespace_id, id);
-- Those that servers look for, and how many a namespace has. Few.
create index operation_open on operation (namespace_id, id) where ended_at is null;
-- Retention.
create index operation_ended on operation (ended_at) where ended_at is not null;
