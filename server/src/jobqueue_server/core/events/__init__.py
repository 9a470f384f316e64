"""What rooms and servers tell each other."""
