"""What is said of CNNs, RNNs and Transformers on sequences, measured on networks that differ in nothing else."""

from torchweld.diagnosis.sequence.compare import SequenceComparison, compare_sequences
from torchweld.diagnosis.sequence.cost import Growth, exponent, flops_of, serial_steps
from torchweld.diagnosis.sequence.drawing import draw_comparison
from torchweld.diagnosis.sequence.findings import Finding, Verdict
from torchweld.diagnosis.sequence.positions import VARIANTS, Response, Variant, responses
from torchweld.diagnosis.sequence.reach import Reach, path_lengths, reach

__all__ = [
    "VARIANTS",
    "Finding",
    "Growth",
    "Reach",
    "Response",
    "SequenceComparison",
    "Variant",
    "Verdict",
    "compare_sequences",
    "draw_comparison",
    "exponent",
    "flops_of",
    "path_lengths",
    "reach",
    "responses",
    "serial_steps",
]
