"""A cell, which is one database and its servers, as a whole: how it moves to another PostgreSQL."""
