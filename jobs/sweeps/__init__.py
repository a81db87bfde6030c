"""Sweeps: many runs from one request, which differ in a few fields of their specs."""
