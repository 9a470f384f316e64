-- read: the jobs for whose end ticks wait
-- $1 int4: of how many schedules at most
select w.open from (
    select s.open from schedule s where s.buffered_at is not null and s.paused_at is null limit $1
) w
