"""Who is connected: sessions, what they hold, servers."""
