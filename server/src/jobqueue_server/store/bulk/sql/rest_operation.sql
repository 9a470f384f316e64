-- operation: running here -> rests
-- $1 uuid: which; $2 int8: this server; $3 text: why
-- No row: it has ended, rests, or another server has it.
update operation o
set rests_for = $3::text, owner = null, state = 1, updated_at = now()
where o.id = $1 and o.owner = $2 and o.ended_at is null and o.rests_for is null
returning o.id, o.namespace_id, o.principal
