-- operation: waiting, running -> the same, to be cancelled after its step
-- $1 uuid: which; $2 int4: namespace
-- No row: it has ended, or there is none. To ask again changes nothing.
update operation o
set cancel_requested_at = coalesce(o.cancel_requested_at, now()), updated_at = now()
where o.id = $1 and o.namespace_id = $2 and o.ended_at is null
returning o.*
