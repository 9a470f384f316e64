-- What a reader sees of where a job stands, by its live row `l` or its end `f`.
-- blanks: asked; worker
coalesce(f.attempts, l.attempts) as attempts,
coalesce(f.failures, l.failures) as failures,
coalesce(f.losses, l.losses) as losses,
coalesce(l.run_at, {asked}) as run_at,
coalesce(f.finished_at, greatest(l.changed_at, l.cancel_requested_at)) as updated_at,
case when l.state = 2 then l.changed_at end as locked_at,
case when l.state = 2 then {worker} end as locked_by,
l.hold,
l.cancel_requested_at is not null
    or f.reason is not distinct from 'CANCELLED_BY_CALLER'
    or f.reason is not distinct from 'CANCEL_GRACE_ENDED' as cancel_requested,
