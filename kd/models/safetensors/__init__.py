"""Weights that somebody brings as safetensors: what the file says of itself, and whose they are."""
