-- read: how many jobs wait in each of these queues, counted to a bound
-- $1 int4[]: queues; $2 int4[]: rows to count at most, for each of them
-- Answers a row for each queue: queue_id, jobs. Waiting is what no worker has: ready, alone, and held back.
-- Bounded: so many rows of each of the three partial indexes a lane, and of all of a queue's lanes together. The states
-- are literals, since a parameter would bar the partial indexes.
select w.queue_id, counted.jobs
from unnest($1::int4[], $2::int4[]) w (queue_id, most)
cross join lateral (
    select count(*)::int4 as jobs
    from (
        select from lane
        cross join lateral (
            (select from live_job l where l.lane_id = lane.id and l.state = 1
             order by l.priority, l.run_at, l.id limit w.most)
            union all
            (select from live_job l where l.lane_id = lane.id and l.state = 4
             order by l.priority, l.run_at, l.id limit w.most)
            union all
            (select from live_job l where l.lane_id = lane.id and l.state = 3
             order by l.run_at, l.id limit w.most)
        ) waiting
        where lane.queue_id = w.queue_id
        limit w.most
    ) bounded
) counted
