"""Partitions, sweeps, the clock."""
