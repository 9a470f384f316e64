"""`jobqueue_worker` and `jobqueue_sync_kinds`."""
