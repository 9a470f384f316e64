"""The generated stubs of the contract, package `jobqueue.v1`. Made by `make generate`."""
