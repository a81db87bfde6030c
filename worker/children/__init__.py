"""What the children of a worker have in common: how an order is carried out, and what can go wrong."""
