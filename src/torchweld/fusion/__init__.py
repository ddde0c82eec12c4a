"""The fusion compiler: any network as the same function in fewer operations, by calculation and with a certificate."""

from torchweld.fusion.calibrate import calibrate_machine
from torchweld.fusion.expansion import Expanded, ExpansionReport, collapse, expand, expansion_report
from torchweld.fusion.explain import explain
from torchweld.fusion.fuse import fuse
from torchweld.fusion.fused import Fused, Origin
from torchweld.fusion.machine import Machine, machine_for, remember_machine, shipped_machine
from torchweld.fusion.partly import PartlyFused
from torchweld.fusion.report import Certificate, Check, Counts, Declined, Report, WeightRange, Weld

__all__ = [
    "Certificate",
    "Check",
    "Counts",
    "Declined",
    "Expanded",
    "ExpansionReport",
    "Fused",
    "Machine",
    "Origin",
    "PartlyFused",
    "Report",
    "WeightRange",
    "Weld",
    "calibrate_machine",
    "collapse",
    "expand",
    "expansion_report",
    "explain",
    "fuse",
    "machine_for",
    "remember_machine",
    "shipped_machine",
]
