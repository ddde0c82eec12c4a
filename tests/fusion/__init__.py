"""The compiler, on networks small enough to say what must come out, and on many that nobody wrote."""
