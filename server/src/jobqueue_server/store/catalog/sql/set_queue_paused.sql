-- queue: paused or resumed, with the gates of its lanes
-- $1 int4: queue, locked by this transaction, with the kinds of its lanes; $2 bool: whether it shall be paused; $3 text: by whom; $4 text: why
-- Idempotent: the first pause stays, with who made it and why, and gates that are right are not written.
-- Where the queue or a kind has limits, the gates stay.
-- locks: 4
with q as (
    update queue
    set paused_at = case when $2 then coalesce(paused_at, now()) end,
        paused_by = case when $2 then $3::text end,
        pause_reason = case when $2 then $4::text end
    where id = $1 and (paused_at is not null) <> $2
)
update lane set closed = as_of.closed
from (
    select n.id, $2 or q.max_running is not null or q.rate_count is not null or is_limited(k) as closed
    from lane n
    join queue q on q.id = n.queue_id
    join kind k on k.id = n.kind_id
    where n.queue_id = $1
) as_of
where lane.id = as_of.id and lane.closed <> as_of.closed
