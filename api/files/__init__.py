"""What jobs leave behind, over HTTP."""
