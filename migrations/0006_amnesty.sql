-- Amnesty: nobody loses a session for a time in which no server could hear anybody.

create table amnesty (
    only_row   bool primary key default true,
    granted_at timestamptz not null default '-infinity',
    left_at    timestamptz,
    constraint "there is one amnesty" check (only_row)
);
comment on table amnesty is 'When the servers last began to be heard again after a time without any: what the reaper counts from at least.';
comment on column amnesty.left_at is 'When a server last signed off and took its row along: it could hear its workers until then.';
insert into amnesty default values;
