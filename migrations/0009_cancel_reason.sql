-- What the caller of CancelJob gave as reason, for workers that learn of it later than by a notice. A null costs no byte.

alter table live_job add column cancel_reason text;
comment on column live_job.cancel_reason is 'Why the running job is to stop, in its caller''s words. Null: none was given, or nobody asked.';
