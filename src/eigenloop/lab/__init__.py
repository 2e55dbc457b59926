"""The looped transformers of arXiv 2606.00605 and their training (JAX)."""
