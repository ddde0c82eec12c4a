"""Rewrites that are not one affine map, in the order in which they are tried."""

from torchweld.fusion.rewrites.run import REWRITES, Rewritten, rewrite

__all__ = ["REWRITES", "Rewritten", "rewrite"]
