"""What holds a job back and lets it go: keys and their permits, the times of held jobs; the counts of keys."""
