-- A count of what runs in a queue begins at its oldest lease. An index keeps an entry of each lease that has ended for as long as
-- a snapshot is held that may look at it. From its start, a count passed over all of them: 25 ms after a million.
-- A lease that counts is made under the lock of its queue, at a time that is read under it. So none that is missing here begins
-- before `since`. The row is locked by that of its queue.

create table queue_running (
    queue_id int4 primary key references queue,
    since timestamptz not null
) with (
    fillfactor = 10, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
comment on table queue_running is
    'Of queues that limit how many of their jobs run: no lease that runs and is counted was made before `since`.';

-- As before, and the count is here. At most every 0.25 s it moves `since` on, so that it leaves few versions to a long snapshot.
-- Where the clock was set back, `since` goes back with it: what is leased now must not lie before it.
create or replace function starts_of_queue(of_queue int4, out room int4, out at timestamptz, out rated bool)
language plpgsql volatile as $$
declare
    q queue;
    floor timestamptz;
    jobs int4 := 0;
    oldest timestamptz;
begin
    select * into q from queue where id = of_queue for no key update;
    rated := q.rate_count is not null;
    room := case when q.paused_at is null then 1000000 else 0 end;
    -- Statements of their own after the lock, so that their snapshots have what others leased while this one waited.
    select r.since into floor from queue_running r where r.queue_id = of_queue;
    if q.max_running is not null and room > 0 then
        select count(*), min(runs.changed_at) into jobs, oldest
        from (
            select runs.changed_at
            from lane
            cross join lateral (
                select l.changed_at
                from live_job l
                where case when l.state = 2 then l.counted end and l.lane_id = lane.id
                    and l.changed_at >= coalesce(floor, '-infinity')
                -- One more than may run: what is counted to its end has its oldest one too.
                limit q.max_running + 1
            ) runs
            where lane.queue_id = of_queue
            limit q.max_running + 1
        ) runs;
        room := greatest(q.max_running - jobs, 0);
    end if;
    at := clock_timestamp();
    oldest := least(oldest, at);
    if at < floor or (
        q.max_running is not null and q.paused_at is null and jobs <= q.max_running
        and oldest > coalesce(floor, '-infinity') + interval '0.25 seconds'
    ) then
        insert into queue_running as r (queue_id, since) values (of_queue, oldest)
        on conflict (queue_id) do update set since = excluded.since;
    end if;
    if rated and room > 0 then
        room := least(room, (
            select starts_of_rate(
                (select r.tat from queue_rate r where r.queue_id = of_queue), at, q.rate_count, q.rate_period_ms, q.rate_burst
            )
        ));
    end if;
end
$$;

-- As before, by the same index. A lease counts for a kind that had no limit when it was made, so the count begins at the first.
create or replace function starts_of_kind(of_kind int4, out room int4, out at timestamptz, out rated bool)
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
                    select
                    from live_job l
                    where case when l.state = 2 then l.counted end and l.lane_id = lane.id
                    limit most
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

drop function room_of_queue(int4);
