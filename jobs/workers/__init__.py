"""Who works, and which job suits whom."""
