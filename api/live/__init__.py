"""Requests that wait, and requests that must not."""
