"""Rows become leases: what waits, what a claim takes, what a delivery carries."""
