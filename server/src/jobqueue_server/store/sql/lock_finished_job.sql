-- retry, delete: terminal, about to change
-- $1 uuid: the job
-- The finished row is locked before anything else by retry, delete and retention alike, so that of two of them one waits
-- and then finds nothing. No row: the job has not ended, or is gone.
select status from finished_job where id = $1 for update
