"""Laws of minimisation: the notes' tables, methods against theory and scipy, critical points, convexity."""
