-- read: a page of the runs of a schedule, the newest first
-- $1 int4: schedule, which a statement with the namespace has found; $2 int8: numbers below this one; $3 int4: rows wanted
select * from schedule_run where schedule_id = $1 and number < $2 order by number desc limit $3
