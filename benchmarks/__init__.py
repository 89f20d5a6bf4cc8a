"""Benchmarks: paired, interleaved, with stored results. Nothing here is asserted; documents are generated from it."""
