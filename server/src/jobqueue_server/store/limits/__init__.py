"""Who was let in by its key, and who waits for it."""
