"""Who hears of events elsewhere."""
