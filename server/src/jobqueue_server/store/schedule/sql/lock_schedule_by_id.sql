-- schedule: about to be fired alone, or by a backfill
-- $1 int4: its id, from a row that this server has read
select s.*, now() as at from schedule s where s.id = $1 for update
