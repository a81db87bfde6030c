"""What a helper does for each mode of light work. Each loads what it needs when it is asked."""
