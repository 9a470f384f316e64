"""Requests become rows: inserts, and the keys that stand for jobs already."""
