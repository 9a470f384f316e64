-- Why a job is held back (state 3): it waits for something else than a worker, and is in no index that claims read.
-- A null costs no byte. The check is not applied to the rows that are there: no server has written state 3 yet.

alter table live_job
    add column hold int2,
    add constraint "a job is held back for a reason, and no other job has one"
        check ((state = 3) = (hold is not null) and hold between 1 and 4) not valid;
comment on column live_job.hold is 'What a job that is held back waits for. 4: ReleaseJob. 1 to 3 are not used yet. Null: it is not held back.';
