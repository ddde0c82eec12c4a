"""Sequence models: one interface, three cores."""
