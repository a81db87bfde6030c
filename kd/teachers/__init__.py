"""Teachers: where they come from, how they answer, who of them guides."""
