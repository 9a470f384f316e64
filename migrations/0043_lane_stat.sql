-- What happened to jobs, by queue, kind and time; and which version a server has.

create table lane_stat (
    width_s    int2 not null,
    at         timestamptz not null,
    lane_id    int4 not null,
    server_id  int8 not null,
    enqueued   int4 not null,
    started    int4 not null,
    succeeded  int4 not null,
    retried    int4 not null,
    failed     int4 not null,
    cancelled  int4 not null,
    lost       int4 not null,
    timed_out  int4 not null,
    released   int4 not null,
    wait_hist  int4[],
    run_hist   int4[],
    -- Serves the reads of a time in one width, the roll-up of what is older, and the inserts, which all go to its end.
    primary key (width_s, at, lane_id, server_id),
    constraint "a slice is 10 s, a minute or 15 minutes" check (width_s in (10, 60, 900))
);
comment on table lane_stat is 'What happened in a slice of time to the jobs of a lane, as one server counted it. No slice: nothing happened.';
comment on column lane_stat.width_s is 'Seconds of the slice: 10 for an hour, 60 for a day, 900 for 90 days.';
comment on column lane_stat.at is 'Where the slice begins.';
comment on column lane_stat.lane_id is 'The lane. Negative, of a namespace: those of its lanes that were too many to be counted apart.';
comment on column lane_stat.server_id is 'The server that counted; 0: all of them, of slices longer than 10 s.';
comment on column lane_stat.wait_hist is 'Started attempts by how long they had been due: the n-th has those of at most 2^(n-1) ms, the 24th the rest. Null: none.';
comment on column lane_stat.run_hist is 'Ended attempts by how long they ran, likewise.';

-- Serves the warning of lost workers.
create index lane_stat_lost on lane_stat (at) where lost > 0;

-- Two histograms as one. Only for a slice that meets an older one, as after a step of the clock.
create function hist_sum(one int4[], other int4[]) returns int4[] language sql immutable as $$
    select case
        when one is null then other
        when other is null then one
        else (
            select array_agg(coalesce(a, 0) + coalesce(b, 0) order by n)
            from unnest(one, other) with ordinality as t (a, b, n)
        )
    end
$$;

create table stat_rollup (
    only_row   bool primary key default true,
    started_at timestamptz not null default '-infinity',
    constraint "there is one roll-up" check (only_row)
);
comment on table stat_rollup is 'When a server last began to roll up lane_stat: the others leave these minutes to it.';
insert into stat_rollup default values;

alter table server add column version text;
comment on column server.version is 'The version of its program. Null: it is too old to say so.';
