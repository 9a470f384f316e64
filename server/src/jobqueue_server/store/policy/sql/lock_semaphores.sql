-- audit: semaphores, about to be counted anew, or to be paused no longer
-- $1 semaphores int8[]
-- Tokens move under this lock alone, so that the next statement's snapshot has them all.
-- locks: 6
select id from semaphore where id = any($1::int8[]) order by id for update
