-- clock: read
-- Microseconds since 1970 by the database's clock at this very moment: now() would be the transaction's start.
select (extract(epoch from clock_timestamp()) * 1000000)::int8 as us
