"""The server of `tests.support.served`, as fixtures."""
