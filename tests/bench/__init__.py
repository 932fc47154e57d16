"""Benchmarks: requests beside a floor and PostGraphile, loads beside COPY, and overload. `make bench` runs them."""
