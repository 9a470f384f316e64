-- read: the run by hand that was made with a request id
-- $1 int4: schedule, which this transaction has locked; $2 text: request id
select * from schedule_run where schedule_id = $1 and request_id = $2
