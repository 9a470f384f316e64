"""Who is connected: sessions of workers from their Hello to their end, and this server among the others."""
