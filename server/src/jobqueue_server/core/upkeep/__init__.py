"""What keeps the server and its database in order: clocks, partitions and retention, levels."""
