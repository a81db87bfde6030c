"""What the terms of an objective are made of: their settings, and which features of the models they read."""
