"""'There is work': a ring that may get lost."""
