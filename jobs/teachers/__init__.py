"""Teachers that jobs take over from one another."""
