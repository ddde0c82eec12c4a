"""Results as pages, pictures and text; nothing is computed here."""

from torchweld.report.graph import DrawnGraph, DrawnNode, drawn
from torchweld.report.page import write_page

__all__ = ["DrawnGraph", "DrawnNode", "drawn", "write_page"]
