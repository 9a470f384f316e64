-- schedule: about to be changed or fired by hand
-- $1 int4: namespace; $2 text: name
-- A server that fires it holds the same lock, so that what a change computes of it is still so at its commit.
select s.*, now() as at from schedule s where s.namespace_id = $1 and s.name = $2 for update
