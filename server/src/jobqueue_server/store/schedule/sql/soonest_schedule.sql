-- read: the next tick of all schedules, and whether a tick waits for the end of a job
select
    (select s.next_at from schedule s where s.paused_at is null and s.next_at is not null order by s.next_at limit 1) as next_at,
    (
        select s.buffered_at from schedule s where s.buffered_at is not null and s.paused_at is null order by s.buffered_at limit 1
    ) is not null as buffered
