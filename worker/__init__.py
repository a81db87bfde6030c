"""Runs jobs: the supervisor claims one, a trainer child runs it, and every write goes through the lease."""
