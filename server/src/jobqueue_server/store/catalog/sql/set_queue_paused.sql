-- queue: paused or resumed, with the gates of its lanes
-- $1 int4: queue, locked by this transaction; $2 bool: whether it shall be paused
-- Idempotent: the moment of the first pause stays, and gates that are right are not written.
with q as (
    update queue
    set paused_at = case when $2 then coalesce(paused_at, now()) end
    where id = $1 and (paused_at is not null) <> $2
)
update lane set gated = $2 where queue_id = $1 and gated <> $2
