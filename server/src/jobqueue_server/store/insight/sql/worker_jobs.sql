-- read: the jobs that a session holds, those that run longest first
-- $1 int8: session; $2 int4: namespace; $3 int4: how many
-- $4, $5 text[]: patterns of LIKE, pairs of queue and kind: only jobs that fit one; null: all
-- A session holds 10,000 at most. Payloads are not looked at.
select l.id, q.name as queue, k.name as kind, l.attempts, l.changed_at as since, l.deadline,
       l.cancel_requested_at is not null as cancel_requested
from live_job l
join lane n on n.id = l.lane_id
join queue q on q.id = n.queue_id
join kind k on k.id = n.kind_id
where l.state = 2 and l.session_id = $1::int8
    and n.namespace_id = $2
    and (
        $4::text[] is null
        or exists (select from unnest($4, $5::text[]) g (queue, kind) where q.name like g.queue and k.name like g.kind)
    )
order by l.changed_at, l.id
limit $3::int4
