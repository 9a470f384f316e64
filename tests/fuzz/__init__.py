"""A fuzzer of both transports: conversations of real clients, changed by chance, in one process, without a network."""
