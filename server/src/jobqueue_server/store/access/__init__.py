"""Keys, identities, namespaces."""
