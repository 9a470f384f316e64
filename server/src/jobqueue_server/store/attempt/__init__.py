"""Leases become ends: settlements, other ends of attempts, progress."""
