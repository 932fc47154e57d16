"""Tests mirror the three layers; golden queries, conformance and benchmarks stand beside them."""
