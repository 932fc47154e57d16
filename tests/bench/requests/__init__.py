"""Requests to the service beside a floor written by hand and PostGraphile: the same answers from the same data."""
