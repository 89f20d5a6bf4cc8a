"""Harnesses: run a bundle on each runtime, compare spikes, measure."""
