-- Gives each row of a line its slot: the highest priority first, then run_at, then id.
-- blanks: most
-- needs: line
select at, row_number() over (order by priority desc, run_at, id) as slot
from line
order by priority desc, run_at, id
limit {most}
