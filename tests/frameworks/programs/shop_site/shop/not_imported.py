"""Nothing imports it, and a payload must not."""

raise RuntimeError("imported by a payload")
