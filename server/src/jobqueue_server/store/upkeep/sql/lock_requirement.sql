-- server: the level that is required -> the same, and held until the transaction ends
-- It waits for servers that are registering, which hold the row for share; those that come later wait for it.
select min_level from requirement for update
