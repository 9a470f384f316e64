"""What happened to jobs, by lane and time; how many jobs there are."""
