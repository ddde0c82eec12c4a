"""Networks by name: parity, shapes, capture, welding."""
