"""Leases become ends: outcomes of workers, their commits, and what follows from them."""
