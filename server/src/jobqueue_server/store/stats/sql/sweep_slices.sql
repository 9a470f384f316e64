-- statistics: slices of 15 min that are too old -> gone
-- $1 age interval  $2 how many int4
-- $3 expected timestamptz: nothing is done while now() is more than 5 s off it, or it is null (core/upkeep/expected_clock.py)
with expired as materialized (
    select s.width_s, s.at, s.lane_id, s.server_id
    from lane_stat s
    where s.width_s = 900 and s.at < now() - $1::interval
        and now() between $3::timestamptz - interval '5 seconds' and $3::timestamptz + interval '5 seconds'
    order by s.at
    limit $2::int4
),
gone as (
    delete from lane_stat s using expired e
    where (s.width_s, s.at, s.lane_id, s.server_id) = (e.width_s, e.at, e.lane_id, e.server_id)
    returning s.at
)
select count(*)::int4 as swept from gone
