"""Measures segspec side by side with PyTorch, in one run on one machine; docs/performance.md says how to read it."""
