-- read: what would run once jobs are handed out, by queue and kind, for the report after a restore
-- $1 timestamptz: jobs that were due by then or earlier ran, or may have, before the restore
-- Reads every live job once; an operator asks, and nothing is handed out meanwhile.
select
    n.name as namespace, q.name as queue, k.name as kind,
    count(*) filter (where l.state = 2) as running,
    count(*) filter (where l.state in (1, 4) and l.run_at <= now()) as due,
    count(*) filter (where l.state in (1, 4) and l.run_at > $1::timestamptz and l.run_at <= now()) as due_since,
    count(*) filter (where l.state in (1, 4) and l.run_at > now()) as later,
    count(*) filter (where l.state = 3) as held,
    min(uuid_time(l.id)) as oldest,
    max(uuid_time(l.id)) as newest
from live_job l
join lane a on a.id = l.lane_id
join queue q on q.id = a.queue_id
join kind k on k.id = a.kind_id
join namespace n on n.id = a.namespace_id
group by n.name, q.name, k.name
order by n.name, q.name, k.name
