-- Limits by key: where a queue limits its keys, a job holds a token of its key while it is in line or runs, and waits
-- outside of the lines until there is one. `live_job.stile` names the row of `turnstile` that counts the key's tokens.
-- A job without one is counted nowhere: the key is null, or its queue had no limit when the job came. A null costs no byte.

alter table live_job add column stile int8;
comment on column live_job.stile is 'The turnstile of its key, of which a job in state 1, 2 or 4 holds a token. Null: nothing limits it.';
comment on column live_job.hold is 'What a job that is held back waits for. 1: its key. 2: its run_at, then its key. 4: ReleaseJob. 3 is not used yet. Null: it is not held back.';

create table turnstile (
    id       int8 primary key,
    queue_id int4 not null,
    taken    int4 not null,
    waiting  int4 not null,
    granted  int4 not null,
    calls_at timestamptz,
    tat      timestamptz
) with (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.01,
    autovacuum_analyze_scale_factor = 0.05,
    autovacuum_vacuum_cost_delay = 0
);
comment on table turnstile is 'One row for each key that has jobs in a queue with a limit: how many were let in, and how many wait.';
comment on column turnstile.id is 'stile_of(queue, key): known before the database is asked. Two keys that share one are limited together.';
comment on column turnstile.taken is 'Its tokens that are out: live jobs with this stile that are not held back (hold is null).';
comment on column turnstile.waiting is 'Its live jobs that wait for a token (hold 1).';
comment on column turnstile.granted is 'How many the last enqueue could let in, for that statement to read back.';
comment on column turnstile.calls_at is 'From when on one may be let in. Null: no job waits, or a token must come back first.';
comment on column turnstile.tat is 'The rate of the key is used up to here (GCRA). Null: it has none, or no job was let in yet.';
-- No counter stands in an index or its predicate, so that nearly all updates are HOT.
create index turnstile_calls on turnstile (calls_at) where calls_at is not null;

-- In Python: `turnstile_of` in core/intake/digest.py.
create function stile_of(queue_id int4, key text) returns int8
language sql immutable strict parallel safe as $$
    select ('x' || encode(substring(sha256(convert_to(queue_id || ':' || key, 'UTF8')) for 8), 'hex'))::bit(64)::int8
$$;

-- Ends a statement that would let more jobs wait for a key than its queue allows. Null: there is no such key.
create function refuse_backlog(full_stiles int8[]) returns bool
language plpgsql volatile as $$
begin
    if full_stiles is not null then
        raise exception using
            errcode = 'JQ001', message = 'as many jobs as its queue allows wait for a key', detail = full_stiles::text;
    end if;
    return true;
end
$$;
