"""HTTP itself: bodies, conditions, problems. It knows no resource."""
