-- The check of 0016 holds for all rows. Readers and writers go on meanwhile.

alter table live_job validate constraint "a job is held back for a reason, and no other job has one";
