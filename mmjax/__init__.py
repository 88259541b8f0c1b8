"""Imbalanced multimodal learning in JAX: pure functions over explicit state."""

__version__ = '0.1.0'
