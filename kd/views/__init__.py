"""Augmentation that is explicit: which views there are, and how they are shown."""
