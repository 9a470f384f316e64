"""What servers tell each other: LISTEN and NOTIFY."""
