"""Data sets: what there is by name, how it is read and packed, and how it is split."""
