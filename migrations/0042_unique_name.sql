-- The name that a unique job came with. `unique_hold` knows which job holds a name now. It does not know which name a job has
-- once another job has taken that name. A null costs no byte, and no row is
-- rewritten: the new column is known to the catalog alone.

alter table job add column unique_name jsonb;
comment on column job.unique_name is
    'What a unique job said of its name: digest (of unique_hold, in hex), until, and key, if no payload made it. Null: not unique.';
