"""The fusion compiler: any network as the same function in fewer operations, by calculation and with a certificate."""

from torchweld.fusion.explain import explain
from torchweld.fusion.fuse import Fused, fuse
from torchweld.fusion.report import Certificate, Check, Counts, Declined, Report, Weld

__all__ = ["Certificate", "Check", "Counts", "Declined", "Fused", "Report", "Weld", "explain", "fuse"]
