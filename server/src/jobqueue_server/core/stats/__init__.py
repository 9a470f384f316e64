"""What happened to jobs, by lane and time: written, rolled up, and asked for; how many jobs there are."""
