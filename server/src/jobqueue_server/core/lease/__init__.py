"""What a session holds: its states, its capacity, its leases."""
