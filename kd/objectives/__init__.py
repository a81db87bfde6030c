"""What a student is told to care about."""
