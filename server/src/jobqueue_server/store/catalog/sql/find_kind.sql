-- catalog: whether a kind is there, and declared
-- $1 int4: namespace; $2 text: its name
select declared_at is not null as declared from kind where namespace_id = $1 and name = $2
