"""Pure JAX functions: the arithmetic, with no idea of layers, specs or files."""
