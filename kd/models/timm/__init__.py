"""The architectures of timm: named without it, built with it."""
