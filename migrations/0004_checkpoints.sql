-- Checkpoints: what an attempt leaves behind for the next one, beside its progress.

alter table job_progress add column checkpoint bytea;
comment on column job_progress.checkpoint is 'Given to the job''s next attempt; null: none was reported. At most 64 KiB.';
