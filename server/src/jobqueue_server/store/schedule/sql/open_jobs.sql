-- read: which of these jobs have not ended, and how the others did
-- $1 uuid[]: ids of jobs of schedules that this transaction has locked; $2, $3 uuid: the least and the greatest of them
-- Status null: it has not ended. One that was deleted is missing.
select l.id, null::int2 as status from live_job l where l.id = any($1::uuid[])
union all
select f.id, f.status from finished_job f where f.id = any($1) and f.id between $2::uuid and $3::uuid
