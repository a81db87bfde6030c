"""How a job comes into the queue, is claimed, worked on, set down and ended."""
