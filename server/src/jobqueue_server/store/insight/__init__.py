"""Why jobs wait, and what queues want."""
