"""Weights that others trained: state dicts with the authors' names, read without running anything in them."""
