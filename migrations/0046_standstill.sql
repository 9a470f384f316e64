-- A standstill: after a restore the world is ahead of the queue, so nothing is handed out until an operator says so
-- (docs/runbook.md).

create table standstill (
    only_row    bool primary key default true,
    since       timestamptz,
    begun_by    text,
    resumed_at  timestamptz,
    resumed_by  text,
    resumed_in  timestamptz,
    resumed_xid xid8,
    constraint "there is one standstill" check (only_row)
);
comment on table standstill is 'Whether jobs are handed out and schedules fire, on all servers. Written by a start with JOBQUEUE_START=paused, and by jobqueue-server resume.';
comment on column standstill.since is 'Since when nothing is handed out; null: it is.';
comment on column standstill.resumed_in is 'When the PostgreSQL had started in which the last standstill was ended: it starts anew with each restore of files.';
comment on column standstill.resumed_xid is 'The transaction that ended it. A dump that is restored writes the row in another one.';
insert into standstill default values;
