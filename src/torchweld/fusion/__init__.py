"""The fusion compiler: any network as the same function in fewer operations, by calculation and with a certificate."""

from torchweld.fusion.expansion import Expanded, ExpansionReport, collapse, expand, expansion_report
from torchweld.fusion.explain import explain
from torchweld.fusion.fuse import fuse
from torchweld.fusion.fused import Fused, Origin
from torchweld.fusion.report import Certificate, Check, Counts, Declined, Report, Weld

__all__ = [
    "Certificate",
    "Check",
    "Counts",
    "Declined",
    "Expanded",
    "ExpansionReport",
    "Fused",
    "Origin",
    "Report",
    "Weld",
    "collapse",
    "expand",
    "expansion_report",
    "explain",
    "fuse",
]
