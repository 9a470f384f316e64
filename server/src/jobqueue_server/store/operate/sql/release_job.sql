-- release: held back by hand -> queued, retrying, or held back until its run_at and then by its key
-- $1 uuid: the job; $2 int4: namespace
-- No row: the job is not held back by hand, or there is none. Of two releases the second waits for the row and finds that.
-- It goes to the end of its line, or waits for its run_at where that is later. run_at is never stored in the past.
update live_job l
set state = case when l.stile is not null then 3 when l.losses + coalesce(l.unseen, 0) >= 2 then 4 else 1 end,
    hold = case when l.stile is not null then 2 end,
    changed_at = now(),
    run_at = greatest(l.run_at, now())
where l.id = $1
    and l.state = 3
    and l.hold = 4
    and (
        select coalesce(n.namespace_id = $2, (select q.namespace_id = $2 from queue q where q.id = n.queue_id))
        from lane n where n.id = l.lane_id
    )
returning l.lane_id, l.priority, l.run_at, l.state = 4 as isolated, l.state = 3 as held
