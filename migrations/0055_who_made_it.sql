-- Operations and schedules rest when the principal that made them ends, so they know who that is. And operations take turns:
-- one that rests between two steps is no server's meanwhile, and says when the next one may be.
-- Servers of before write none of these columns. They keep an operation from its first step to its last one.

alter table operation drop constraint "an operation runs on a server, and waits for one without";
alter table operation
    add column credential text not null default '',
    add column next_at timestamptz,
    add column rests_for text;
comment on column operation.credential is 'What its principal showed, where the principal alone does not say whether it is good still: an identity. Else empty.';
comment on column operation.owner is 'The row of the server that does a step of it. Null: none does.';
comment on column operation.next_at is 'When it may have its next step. Null: at once.';
comment on column operation.rests_for is 'Why it has no steps until a principal resumes it, such as PRINCIPAL_ENDED. Null: it has.';

alter table schedule
    add column principal text not null default '',
    add column credential text not null default '';
comment on column schedule.principal is 'Who made it, gave it its job, or took it over, the last of these. Empty: a server of before made it.';
comment on column schedule.credential is 'As operation.credential.';
