-- operation: running here -> running, succeeded, cancelled, failed
-- $1 uuid: which; $2 int8: this server; $3 uuid: the last job that was looked at, or null for none
-- $4, $5, $6 int8: how many jobs were looked at, changed, skipped by this step; $7 int2: its state now; $8 text: error or null
-- In the transaction of the step, which has locked it. No row: another server has it, and the step is rolled back.
update operation o
set position = coalesce($3::uuid, o.position),
    looked = o.looked + $4::int8, changed = o.changed + $5::int8, skipped = o.skipped + $6::int8,
    state = $7::int2, error = $8::text,
    heard_at = now(), updated_at = now(), ended_at = case when $7::int2 >= 3 then now() end
where o.id = $1 and o.owner = $2 and o.ended_at is null
returning o.*
