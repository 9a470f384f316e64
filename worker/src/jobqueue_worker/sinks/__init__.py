"""Receivers for mails and webhooks on this machine, so that `make run` and the tests need no outside world."""
