-- A lease that goes back without a receipt, since its session was lost, may be of a job that kills its worker at once. The
-- server counts such ends, since a worker that dies can't: with the losses they decide when the job runs isolated.
-- A null costs no byte. The check is not applied to the rows that are there: they have no count yet.

alter table live_job add column unseen int2;
alter table live_job add constraint "unseen ends are counted from one" check (unseen > 0) not valid;
comment on column live_job.unseen is 'Attempts whose session was lost before a receipt came. Null: none.';
comment on column live_job.state is '1 ready, 2 leased, 3 held back, 4 ready but isolated (losses and unseen ends are two or more).';
