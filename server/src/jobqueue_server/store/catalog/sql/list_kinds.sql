-- read: a page of kinds, by name
-- $1 int4: namespace; $2 text: only names after this one; $3 bool: also those that were only seen; $4 int4: rows at most
-- $5 text[]: patterns of LIKE of the kinds that may be seen; null: all
-- The "C" order is that of the code points, the same on every server whatever its locale, so that a page token holds.
select name, schema, min_backoff_ms, max_backoff_ms, max_attempts, timeout_ms,
       max_running, rate_count, rate_period_ms, rate_burst, slot_weight,
       version, output_schema, annotations::text as annotations
from kind
left join kind_declaration on kind_id = id
where namespace_id = $1 and name > $2 collate "C" and (declared_at is not null or $3)
  and ($5::text[] is null or name like any($5))
order by name collate "C"
limit $4
