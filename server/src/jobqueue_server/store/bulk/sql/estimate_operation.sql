-- operation: running here -> the same, with how many jobs match
-- $1 uuid: which; $2 int8: this server; $3 int8: how many; $4 bool: whether counting ended at its bound; $5 uuid[]: the first
update operation o
set estimate = $3, estimate_capped = $4, sample_ids = $5::uuid[], heard_at = now()
where o.id = $1 and o.owner = $2 and o.ended_at is null
returning o.id
