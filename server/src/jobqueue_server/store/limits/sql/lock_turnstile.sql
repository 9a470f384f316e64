-- audit: a turnstile, about to be counted anew
-- $1 turnstile int8
-- Tokens move under this lock alone, so that the next statement's snapshot has them all.
select id from turnstile where id = $1::int8 for update
