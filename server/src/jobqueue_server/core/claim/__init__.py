"""Rows become leases: what waits where, who takes what, claims, hand-offs, deliveries."""
