-- operation: running here, locked for a step
-- $1 uuid: which; $2 int8: this server
-- No row: it has ended, or another server has it.
select o.* from operation o where o.id = $1 and o.owner = $2 and o.ended_at is null for update
