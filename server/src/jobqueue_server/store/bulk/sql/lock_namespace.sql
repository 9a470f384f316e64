-- operation: its namespace, locked while it is made
-- $1 int4: namespace
-- Of two that are made at once the second counts the first.
select n.id from namespace n where n.id = $1 for no key update
