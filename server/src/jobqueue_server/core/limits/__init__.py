"""Jobs that wait for their key are let in; the counts of keys are kept right."""
