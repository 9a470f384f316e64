"""Why a job waits, and how many slots a queue wants."""
