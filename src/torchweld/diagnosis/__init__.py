"""Verdicts from probes and runs: what was claimed, what was measured, whether it holds."""

from torchweld.diagnosis.sequence import Finding, SequenceComparison, compare_sequences, draw_comparison

__all__ = ["Finding", "SequenceComparison", "compare_sequences", "draw_comparison"]
