-- retry, delete: many jobs, terminal, about to change
-- $1 uuid[]: the jobs; $2, $3 uuid: the smallest of them, the greatest; $4 int2[]: the statuses that may change
-- As lock_finished_job, for many: the finished rows are locked before anything else, in the order of ids. A row that
-- another change takes first is not answered. $2 and $3 leave out all other partitions.
select f.id
from finished_job f
where f.id = any($1::uuid[]) and f.id >= $2 and f.id <= $3 and f.status = any($4::int2[])
order by f.id
for update of f
