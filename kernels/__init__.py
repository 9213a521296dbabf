"""Tensors in, tensors out: one file per op with shapes, reference and fast kernel."""
