"""segspec: networks and solvers for semantic segmentation, written as text, compiled to JAX."""
