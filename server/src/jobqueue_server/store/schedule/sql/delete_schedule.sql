-- schedule: - -> gone, with its runs; its jobs stay
-- $1 int4: its id, which this transaction has locked
with runs as (
    delete from schedule_run where schedule_id = $1
)
delete from schedule where id = $1
