-- How many jobs of a queue may start in a time, over all servers, by the database's clock.
-- A rate (GCRA) lets jobs start as time goes on: `tat` is the time up to which it is used up. A claim of such a queue has
-- locked it, so the row of its rate has one writer at a time. It is a row of its own, since it is written at each
-- claim: the versions of it that a long snapshot keeps are in no statement's way that reads queues.

alter table queue
    add column rate_count int4, add column rate_period_ms int4, add column rate_burst int4,
    add constraint "a queue lets 1 to 1000000 jobs start in 1 ms to 24 h" check (
        (rate_count is null) = (rate_period_ms is null)
        and rate_count between 1 and 1000000 and rate_period_ms between 1 and 86400000
        and (rate_burst is null or (rate_burst between 1 and 1000000 and rate_count is not null))
    );
comment on column queue.rate_count is 'How many of its jobs may start in each period. Null: any number.';
comment on column queue.rate_burst is 'How many of them may start at once. Null: what the rate lets start in 50 ms, 1 at least.';
comment on column lane.gated is
    'Nothing is leased but by a statement that asks its queue: it is paused, or limits how many run or start.';
comment on table job is
    'What was asked for. Its lane alone changes, by a retry into another queue. The id is a UUID v7 and its time is created_at.';

create table queue_rate (
    queue_id int4 primary key references queue,
    tat timestamptz not null
) with (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
comment on table queue_rate is 'Of queues with a rate, once a job of theirs has started: up to when the rate is used up.';

-- How many may start at once.
create function burst_of_rate(of_count int4, period_ms int4, burst int4) returns int4
language sql immutable as $$
select coalesce(burst, greatest((of_count::int8 * 50 + period_ms - 1) / period_ms, 1)::int4)
$$;

-- How far a rate is used up beyond `at`: in microseconds times the count, so that one start is the period in microseconds. These
-- are whole numbers, so no rounding lets one start too early. It is no more than the burst, also where the clock was set back.
create function used_of_rate(tat timestamptz, at timestamptz, of_count int4, period_ms int4, burst int4) returns numeric
language sql immutable as $$
select greatest(
    least(
        coalesce(trunc(extract(epoch from tat - at) * 1000000) * of_count, 0),
        burst_of_rate(of_count, period_ms, burst)::numeric * period_ms * 1000
    ),
    0
)
$$;

-- How many may start at `at`. What is used in part is used.
create function starts_of_rate(tat timestamptz, at timestamptz, of_count int4, period_ms int4, burst int4) returns int4
language sql immutable as $$
select burst_of_rate(of_count, period_ms, burst)
    - ceil(used_of_rate(tat, at, of_count, period_ms, burst) / (period_ms * 1000::numeric))::int4
$$;

-- When the next one may start, `at` or later.
create function next_of_rate(tat timestamptz, at timestamptz, of_count int4, period_ms int4, burst int4) returns timestamptz
language sql immutable as $$
select at + ceil(
    greatest(
        used_of_rate(tat, at, of_count, period_ms, burst)
            - (burst_of_rate(of_count, period_ms, burst) - 1) * 1000::numeric * period_ms,
        0
    ) / of_count
)::float8 * interval '1 microsecond'
$$;

-- How many jobs of a queue may be leased now, by the caller's statement alone, and when that is: the queue is locked until its
-- transaction ends. The clock is read under the lock, so those who waited for it don't count from when they came.
create function starts_of_queue(of_queue int4, out room int4, out at timestamptz, out rated bool)
language plpgsql volatile as $$
declare
    q queue;
begin
    room := room_of_queue(of_queue);
    at := clock_timestamp();
    select * into q from queue where id = of_queue;
    rated := q.rate_count is not null;
    if rated and room > 0 then
        room := least(room, (
            select starts_of_rate(
                (select r.tat from queue_rate r where r.queue_id = of_queue), at, q.rate_count, q.rate_period_ms, q.rate_burst
            )
        ));
    end if;
end
$$;

-- Jobs of a queue with a rate were leased at `at`, within what starts_of_queue answered. Answers when the next one may be.
create function started_of_queue(of_queue int4, at timestamptz, jobs int4) returns timestamptz
language plpgsql volatile as $$
declare
    q queue;
    before timestamptz;
    up_to timestamptz;
begin
    select * into q from queue where id = of_queue;
    select r.tat into before from queue_rate r where r.queue_id = of_queue;
    up_to := at + ceil(
        (used_of_rate(before, at, q.rate_count, q.rate_period_ms, q.rate_burst) + jobs * 1000::numeric * q.rate_period_ms)
        / q.rate_count
    )::float8 * interval '1 microsecond';
    -- Also where it lay too far ahead: the clock was set back, or the rate was raised.
    if jobs > 0 or before > up_to then
        insert into queue_rate as r (queue_id, tat) values (of_queue, up_to)
        on conflict (queue_id) do update set tat = excluded.tat;
    end if;
    return next_of_rate(up_to, at, q.rate_count, q.rate_period_ms, q.rate_burst);
end
$$;
