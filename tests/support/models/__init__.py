"""Models as people bring them."""
