-- read: the workers of a namespace whose sessions have not ended, those first that came last
-- $1 int4: namespace; $2 int8: this session alone, or null; $3 int8: ids below this one; $4 int4: how many
-- $5 text: queue or null; $6 text: kind or null; $7 text: the name begins so; $8 int2[]: states, or null for any
-- $9, $10 text[]: patterns of LIKE, pairs of queue and kind: only those that take something of these; null: all
-- A state is 1 heard, 2 heard and drained, 3 silent: as those see it that reap it (expired_sessions.sql). A worker without a
-- stream is heard by its calls; so it is silent, as a stream is, after three of its intervals. It reads the sessions that are
-- open, at most 20,000 of them, and sorts them: by the primary key it would walk past all that have ended.
with candidate as materialized (
    (
        select s.id from worker_session s
        where $2::int8 is null and s.ended_at is null and s.namespace_id = $1
        limit 20000
    )
    union all
    (
        select s.id from worker_session s
        where s.id = $2 and s.ended_at is null and s.namespace_id = $1
    )
),
seen as materialized (
    select
        s.id, s.name, s.labels, s.client, s.address, s.principal, v.name as server, s.opened_at,
        coalesce(s.takes, s.greeting) as takes, s.drain_at, s.drained_by, s.drain_reason,
        case
            when s.silent_since is null
                then case when (v.heartbeat_at > now() - interval '5 seconds') is not true then coalesce(v.heartbeat_at, s.opened_at) end
            when s.takes is null and s.greeting is not null
                and s.silent_since > now() - 3 * least(s.ttl / 4, interval '5 seconds')
                then null
            else s.silent_since
        end as silent_since,
        greatest(
            case
                when s.silent_since is not null then s.silent_since + s.ttl
                else coalesce(v.heartbeat_at, s.opened_at) + greatest(s.ttl, interval '12 seconds')
            end,
            a.granted_at + greatest(s.ttl, interval '12 seconds')
        ) as ends_at
    from candidate c
    join worker_session s on s.id = c.id
    left join server v on v.id = s.server_id
    cross join amnesty a
    where s.id < $3::int8
        and starts_with(s.name, $7::text)
        and (
            ($5::text is null and $6::text is null and $9::text[] is null)
            or exists (
                select from jsonb_array_elements(coalesce(s.takes, s.greeting) -> 'subscriptions') t (pair)
                where ($5 is null or t.pair ->> 0 = $5)
                    and ($6 is null or t.pair ->> 1 = $6)
                    and (
                        $9 is null
                        or exists (
                            select from unnest($9, $10::text[]) g (queue, kind)
                            where t.pair ->> 0 like g.queue and t.pair ->> 1 like g.kind
                        )
                    )
            )
        )
)
select
    s.id, s.name, s.labels::text as labels, s.client, s.address, s.principal, s.server, s.opened_at, s.takes::text as takes,
    s.drain_at, s.drained_by, s.drain_reason, s.silent_since, s.ends_at, s.state
from (
    select seen.*, case when seen.silent_since is not null then 3 when seen.drain_at is not null then 2 else 1 end::int2 as state
    from seen
) s
where $8::int2[] is null or s.state = any($8)
order by s.id desc
limit $4::int4
