"""The ground floor: comparison by dtype, files written whole, the three ways of saying no."""
