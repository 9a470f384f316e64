"""`jobqueue-server doctor`: what is wrong with this installation, what would be right, and what to do next."""
