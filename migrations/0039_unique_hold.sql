-- Which job holds a name, so that the same work is enqueued once (NewJob.unique). Only an enqueue writes here: a claim, a
-- settlement and an end write nothing, and whether the holder still holds is judged by the next enqueue of the name.

create table unique_hold (
    digest      bytea primary key constraint "a name is kept as 16 bytes" check (octet_length(digest) = 16),
    job_id      uuid not null,
    until       int2 not null constraint "a name is held until its job starts, ends, or for a time" check (until between 1 and 3),
    holds_until timestamptz,
    constraint "a name that is held for a time has one" check (until <> 3 or holds_until is not null)
) with (fillfactor = 70);
comment on table unique_hold is 'The job that holds each name. No row, or one whose job let go of it: the name is free.';
comment on column unique_hold.digest is 'Of the namespace, the scope and the name. Its index serves enqueues, and the sweep, which goes through it in turn.';
comment on column unique_hold.job_id is 'The job that took the name last. It may have ended, or be gone.';
comment on column unique_hold.until is 'What ends its hold: 1 its start, 2 its end, 3 the time alone.';
comment on column unique_hold.holds_until is 'It holds the name at least until then. Null: no such time.';
