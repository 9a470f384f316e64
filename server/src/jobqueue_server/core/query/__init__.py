"""What callers see of jobs: get, list, wait, watch."""
