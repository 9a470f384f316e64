-- What a run of a schedule came from. Older servers write none.
alter table schedule_run add column cause int2;
alter table schedule_run add constraint "a cause is one of the contract" check (cause between 1 and 3) not valid;
comment on column schedule_run.cause is '1 the time of the schedule itself, 2 by hand, 3 a backfill. Null: by an older server, which wrote none.';
