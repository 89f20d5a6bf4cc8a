"""From a float checkpoint to good integers."""
