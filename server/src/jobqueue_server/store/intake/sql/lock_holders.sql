-- job: those that hold these names, and one more, locked until the transaction ends
-- $1 digest bytea[]: names that take_names.sql has locked in this transaction  $2 job_id uuid
-- Before a settlement, which locks its job: live rows lock in the order of their ids, and semaphores after them.
-- locks: 2
select l.id
from live_job l
where l.id = any(array(select u.job_id from unique_hold u where u.digest = any($1::bytea[])) || $2::uuid)
order by l.id
for no key update
