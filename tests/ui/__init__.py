"""The dashboard in a real browser, before real servers."""
