-- queue: one of its keys is blocked -> goes on
-- $1 int4: namespace; $2 text: queue; $3 text: the key
-- No row: there is no such queue. What waits for it is let in by who finds that it calls. One that is not blocked has no
-- `blocked_by`. One whose jobs are being cancelled goes on by itself.
-- locks: 6
with named as materialized (
    select q.id as queue_id, semaphore_of(q.id, $3::text) as id from queue q where q.namespace_id = $1 and q.name = $2
),
blocked as materialized (
    select t.id, t.blocked_by
    from semaphore t
    where t.id = (select id from named) and t.blocked_by is not null and t.cancels_to is null
    for update
),
turned as (
    update semaphore t set blocked_by = null, admit_at = case when t.waiting > 0 then now() end
    where t.id = (select id from blocked)
    returning t.waiting
)
select (select blocked_by from blocked) as blocked_by, (select waiting from turned) as waiting
from named
