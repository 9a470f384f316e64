-- no-transaction
-- The running jobs that are to stop, few at any time: each server looks for those of its own sessions once a second.
create index concurrently if not exists live_job_cancelling on live_job (session_id) where cancel_requested_at is not null;
