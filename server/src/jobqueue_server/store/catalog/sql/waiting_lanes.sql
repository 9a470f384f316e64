-- read: the lanes in which a job waits, by number
-- $1 int4: those after this one; $2 int4: so many at most
-- Ready, ready but isolated, and held back. It goes from lane to lane in each of the three partial indexes, so a lane in which no
-- job waits costs nothing, and a job in a lane that was found neither. The states are literals, since a parameter would bar the
-- partial indexes.
with recursive ready (lane_id) as (
    (select l.lane_id from live_job l where l.state = 1 and l.lane_id > $1::int4 order by l.lane_id limit 1)
    union all
    select (select l.lane_id from live_job l where l.state = 1 and l.lane_id > r.lane_id order by l.lane_id limit 1)
    from ready r
    where r.lane_id is not null
),
alone (lane_id) as (
    (select l.lane_id from live_job l where l.state = 4 and l.lane_id > $1::int4 order by l.lane_id limit 1)
    union all
    select (select l.lane_id from live_job l where l.state = 4 and l.lane_id > r.lane_id order by l.lane_id limit 1)
    from alone r
    where r.lane_id is not null
),
held (lane_id) as (
    (select l.lane_id from live_job l where l.state = 3 and l.lane_id > $1::int4 order by l.lane_id limit 1)
    union all
    select (select l.lane_id from live_job l where l.state = 3 and l.lane_id > r.lane_id order by l.lane_id limit 1)
    from held r
    where r.lane_id is not null
)
select lane_id
from (
    (select lane_id from ready limit $2::int4)
    union
    (select lane_id from alone limit $2::int4)
    union
    (select lane_id from held limit $2::int4)
) waiting
where lane_id is not null
order by lane_id
limit $2::int4
