"""Laws of automatic differentiation: agreement with torch, numbers of the notes, traps."""
