"""Text to tree and back: YAML, prototxt and the macros, with positions; no idea of layers, no JAX."""
