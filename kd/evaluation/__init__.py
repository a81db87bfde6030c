"""What a model says, how good that is, and what it costs."""
