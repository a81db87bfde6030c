"""What jobs say: events, curves, and how far they are."""
