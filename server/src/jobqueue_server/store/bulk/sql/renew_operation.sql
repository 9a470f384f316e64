-- operation: running here -> the same, heard
-- $1 uuid: which; $2 int8: this server
-- No row: it has ended, or another server has it.
update operation o set heard_at = now()
where o.id = $1 and o.owner = $2 and o.ended_at is null
returning o.cancel_requested_at is not null as to_cancel
