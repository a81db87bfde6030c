"""Runs jobs: the worker claims one, a trainer child runs it, and every write goes through the lease."""
