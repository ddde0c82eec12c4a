"""Layers of the trained, branched form."""

from torchweld.layers.residual import ResidualBlock

__all__ = ["ResidualBlock"]
