"""Keys: who has permits, who waits for them, and what is said of single keys."""
