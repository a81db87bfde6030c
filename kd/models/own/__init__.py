"""Architectures of one's own: `nn.Module` factories that an installed package or a run's own process registers."""
