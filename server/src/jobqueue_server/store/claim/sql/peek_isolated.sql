-- read: the size of the isolated job that a claim would take now
-- $1 lane_id int4[], none of them closed
-- For a session that bounds the bytes it holds. In the order of claim_isolated.sql.
with head as materialized (
    select ready.id, ready.run_at, p.priority
    from unnest($1::int4[]) as w (lane_id)
    cross join generate_series(10, -10, -1) as p (priority)
    cross join lateral (
        select l.id, l.run_at
        from live_job l
        where l.state = 4 and l.lane_id = w.lane_id and l.priority = p.priority::int2 and l.run_at <= now()
        order by l.run_at, l.id
        limit 1
    ) ready
    order by p.priority desc, ready.run_at, ready.id
    limit 1
)
select coalesce((select octet_length(j.payload) from job j where j.id = head.id), 0) as size from head
