"""Changes many jobs at once: operations, their steps, and which server works on them."""
