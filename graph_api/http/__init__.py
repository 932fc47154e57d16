"""The HTTP layer: requests, responses, admission, rate limits and health."""
