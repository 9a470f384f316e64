-- The lanes of a claim whose kinds have limits, but for the one kind that it counts.
select n.id
from lane n join kind k on k.id = n.kind_id
where n.id = any(:lanes::int4[]) and is_limited(k) and k.id is distinct from :kind::int4
