-- The name that a unique job came with. `unique_hold` knows who holds a name now; which name a job has, nobody could say once
-- another job had taken it. A null costs no byte, and no row is rewritten: the new column is known to the catalog alone.

alter table job add column unique_name jsonb;
comment on column job.unique_name is
    'What a unique job said of its name: digest (of unique_hold, in hex), until, and key, if no payload made it. Null: not unique.';
