"""Benchmarks of the service beside the baseline server: `make bench`."""
