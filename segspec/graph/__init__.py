"""Wiring with shapes: which layer reads what, how large everything is, who holds a shared blob."""
