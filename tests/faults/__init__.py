"""Faults on purpose: servers, workers and databases are killed, stopped and cut off, and the history is checked."""
