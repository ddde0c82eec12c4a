"""`expand` and `collapse`: convolutions as parallel branches for training and back, preserving the function."""

from torchweld.fusion.expansion.narrow import collapse
from torchweld.fusion.expansion.report import Expanded, ExpansionReport, expansion_report
from torchweld.fusion.expansion.widen import expand

__all__ = ["Expanded", "ExpansionReport", "collapse", "expand", "expansion_report"]
