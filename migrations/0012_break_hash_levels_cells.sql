-- A break: stop all servers, apply this, start the new ones. Workers may stay: their sessions and jobs wait for a server.
--
-- Why it breaks. The digest of an idempotency key was BLAKE2b, which PostgreSQL can't compute, and is SHA-256 from here on. A
-- server of before would not find the keys of one of after, so that one key made two jobs. It would also mint ids with random
-- bits where the cell is from here on.
-- It is the last break of this kind: what old servers can't run beside is said by levels from here on (docs/upgrades.md).

-- A server of before that is still there would go on for as long as it runs: it looks at the schema when it starts. One that
-- lives has no heartbeat in the future; one that died before the clock was set back has, and is passed over.
do $$
declare
    running text;
begin
    select string_agg(name, ', ' order by name) into running
    from server where heartbeat_at between now() - interval '10 seconds' and now() + interval '10 seconds';
    if running is not null then
        raise exception 'these servers were heard in the last 10 s, and can not run beside this migration: %. '
            'Stop all servers, wait 10 s where one was killed, and run `jobqueue-server migrate up` again', running;
    end if;
end $$;

-- No digest of before can be recognised: the same key makes a new job once.
truncate idempotency_key;
-- A server that was cut off or frozen was not heard above, and may come back. By this it can store nothing: its enqueue
-- names the column as it was called before.
alter table idempotency_key rename column digest to key_digest;

-- What a server can do, as one number that grows. A constant default costs no rewrite; servers of before have no level.
alter table server add column level int2 not null default 0;
comment on column server.level is 'What this server knows of: the constant LEVEL of its version. 0: it is from before levels.';

create table requirement (
    only_row  bool primary key default true,
    min_level int2 not null,
    constraint "there is one requirement" check (only_row),
    constraint "a level is never negative" check (min_level >= 0)
);
comment on table requirement is 'The lowest level of a server that may run on this database. It is read at start and with each heartbeat.';
comment on column requirement.min_level is 'Raised by the first use of a capability that older servers would break; never lowered.';
-- 1: a server from before levels breaks the digests.
insert into requirement (min_level) values (1);

-- The top ten bits of an id's rand_a are a cell number from here on. In ids of before they are random.
create table cell_bits (
    only_row bool primary key default true,
    since    timestamptz not null,
    constraint "there is one cut-over to cell bits" check (only_row)
);
comment on table cell_bits is 'Since when ids carry their cell: in those whose time is before it, these bits mean nothing.';
-- All servers have stopped, so no id of before has a later time than now. The newest id is looked at as well, for a clock that
-- was set back meanwhile.
insert into cell_bits (since)
select greatest(now(), (select uuid_time(id) + interval '1 millisecond' from job order by id desc limit 1));
