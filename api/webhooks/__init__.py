"""Webhooks: the routes, and the sender."""
