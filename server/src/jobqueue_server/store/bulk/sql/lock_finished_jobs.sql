-- retry, delete: terminal, about to change
-- $1 uuid[]: the jobs; $2, $3 uuid: the smallest of them, the greatest; $4 int2[]: the statuses that may change
-- $5 int4: namespace
-- Finished rows are locked before anything else by retry, delete and retention alike, in the order of ids, so that of two of
-- them one waits and then finds nothing. A row that another change takes first is not answered, nor one whose body is gone.
-- $2 and $3 leave out all other partitions.
-- locks: 2
select f.id
from finished_job f
where f.id = any($1::uuid[]) and f.id >= $2 and f.id <= $3 and f.status = any($4::int2[])
    and (select n.namespace_id = $5 from job j join lane n on n.id = j.lane_id where j.id = f.id limit 1)
order by f.id
for update of f
