"""The genetic algorithm: its operators, its encodings, its runs and what can go wrong in them."""
