"""Tasks: heads losses, decoding and metrics."""
