-- How many jobs of a kind may run at once and start in a time, over all queues of its namespace. A null costs no byte.
-- As those of a queue (0034_max_running.sql, 0036_rate.sql): what runs is counted where the next ones are leased. A claim
-- locks the queue, then the kind, so there is one order.

alter table kind add column max_running int4,
    add column rate_count int4, add column rate_period_ms int4, add column rate_burst int4,
    add constraint "a kind lets 1 to 1000000 jobs run, or any number" check (max_running between 1 and 1000000),
    add constraint "a kind lets 1 to 1000000 jobs start in 1 ms to 24 h" check (
        (rate_count is null) = (rate_period_ms is null)
        and rate_count between 1 and 1000000 and rate_period_ms between 1 and 86400000
        and (rate_burst is null or (rate_burst between 1 and 1000000 and rate_count is not null))
    );
comment on column kind.max_running is 'How many of its jobs may run at once. Null: any number.';
comment on column kind.rate_count is 'How many of its jobs may start in each period. Null: any number.';
comment on column kind.rate_burst is 'How many of them may start at once. Null: what the rate lets start in 50 ms, 1 at least.';
comment on column lane.gated is
    'Nothing is leased but by a statement that asks its queue and its kind: see the function gates.';
comment on column live_job.counted is
    'True: leased while its queue or its kind has limits; counted while it runs. Null: it never was.';

create index lane_of_kind on lane (kind_id);

create table kind_rate (
    kind_id int4 primary key references kind,
    tat timestamptz not null
) with (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
comment on table kind_rate is 'Of kinds with a rate, once a job of theirs has started: up to when the rate is used up.';

-- Whether a kind limits how many of its jobs run or start.
create function is_limited(k kind) returns bool
language sql immutable as $$
select k.max_running is not null or k.rate_count is not null
$$;

-- Whether the lane of a queue and a kind is gated: the queue is paused, or either limits how many jobs run or start.
create function gates(q queue, k kind) returns bool
language sql immutable as $$
select q.paused_at is not null or q.max_running is not null or q.rate_count is not null
    or k.max_running is not null or k.rate_count is not null
$$;

-- How many jobs of a kind may be leased now, and when that is, as starts_of_queue says it of a queue. The kind is locked
-- until the caller's transaction ends.
create function starts_of_kind(of_kind int4, out room int4, out at timestamptz, out rated bool)
language plpgsql volatile as $$
declare
    most int4;
    of_count int4;
    period_ms int4;
    burst int4;
begin
    select max_running, rate_count, rate_period_ms, rate_burst
    into most, of_count, period_ms, burst
    from kind where id = of_kind
    for no key update;
    at := clock_timestamp();
    rated := of_count is not null;
    room := 1000000;
    if most is not null then
        room := greatest(most - (
            select count(*)
            from (
                select
                from lane
                cross join lateral (
                    select from live_job l where l.state = 2 and l.counted and l.lane_id = lane.id limit most
                ) runs
                where lane.kind_id = of_kind
                limit most
            ) bounded
        ), 0);
    end if;
    if rated and room > 0 then
        room := least(room, (
            select starts_of_rate((select r.tat from kind_rate r where r.kind_id = of_kind), at, of_count, period_ms, burst)
        ));
    end if;
end
$$;

-- How many jobs of a queue and a kind may be leased now, by the caller's statement alone, and when that is. of_kind null: of
-- kinds without limits. by_kind: the kind's limits are the closer ones. The clock is read under both locks.
create function starts_of(
    of_queue int4, of_kind int4, out room int4, out at timestamptz, out by_kind bool, out rated bool
)
language plpgsql volatile as $$
declare
    kinds record;
begin
    select s.room, s.at, s.rated into room, at, rated from starts_of_queue(of_queue) s;
    by_kind := false;
    if of_kind is not null and room > 0 then
        select s.* into kinds from starts_of_kind(of_kind) s;
        by_kind := kinds.room < room;
        room := least(room, kinds.room);
        at := kinds.at;
        rated := rated or kinds.rated;
    end if;
end
$$;

-- Jobs of a queue and a kind were leased at `at`, within what starts_of answered. Answers when the closer one of their rates
-- lets the next one start; null: that one has no rate.
create function started_of(of_queue int4, of_kind int4, by_kind bool, at timestamptz, jobs int4) returns timestamptz
language plpgsql volatile as $$
declare
    of_count int4;
    period_ms int4;
    burst int4;
    before timestamptz;
    up_to timestamptz;
    of_queue_next timestamptz;
    of_kind_next timestamptz;
begin
    if exists (select from queue where id = of_queue and rate_count is not null) then
        of_queue_next := started_of_queue(of_queue, at, jobs);
    end if;
    select rate_count, rate_period_ms, rate_burst into of_count, period_ms, burst from kind where id = of_kind;
    if of_count is not null then
        select r.tat into before from kind_rate r where r.kind_id = of_kind;
        up_to := at + ceil(
            (used_of_rate(before, at, of_count, period_ms, burst) + jobs * 1000::numeric * period_ms) / of_count
        )::float8 * interval '1 microsecond';
        -- Also where it lay too far ahead: the clock was set back, or the rate was raised.
        if jobs > 0 or before > up_to then
            insert into kind_rate as r (kind_id, tat) values (of_kind, up_to)
            on conflict (kind_id) do update set tat = excluded.tat;
        end if;
        of_kind_next := next_of_rate(up_to, at, of_count, period_ms, burst);
    end if;
    return case when by_kind then of_kind_next else of_queue_next end;
end
$$;
