"""Label tables: what a teacher says of every view, written once and shared."""
