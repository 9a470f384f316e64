-- How many jobs of a queue may run at once. No row is rewritten: a null costs no byte.
-- Nothing counts up and down: what runs is counted where the next ones are leased (room_of_queue), by an index of those rows.
-- `lane.gated` keeps the lanes of such a queue from every statement that leases without asking.

alter table queue add column max_running int4,
    add constraint "a queue lets 1 to 1000000 jobs run, or any number" check (max_running between 1 and 1000000);
comment on column queue.max_running is 'How many of its jobs may run at once. Null: any number.';
comment on column lane.gated is 'Nothing is leased but by a statement that asks its queue: it is paused, or limits how many run.';

alter table live_job add column counted bool;
comment on column live_job.counted is 'True: leased while its queue limits how many run; counted while it runs. Null: it never was.';

-- How many jobs of a queue may be leased now, by the caller's statement alone: the lock is held until its transaction ends.
-- The count is a statement of its own after the lock, so that its snapshot has what others leased while this one waited.
-- Null: there is no such queue.
create function room_of_queue(of_queue int4) returns int4
language plpgsql volatile as $$
declare
    most int4;
    paused bool;
begin
    select max_running, paused_at is not null into most, paused from queue where id = of_queue for no key update;
    if paused then
        return 0;
    end if;
    if most is null then
        -- No limit any more.
        return 1000000;
    end if;
    return greatest(most - (
        select count(*)
        from (
            select
            from lane
            cross join lateral (
                select from live_job l where l.state = 2 and l.counted and l.lane_id = lane.id limit most
            ) runs
            where lane.queue_id = of_queue
            limit most
        ) bounded
    ), 0);
end
$$;
