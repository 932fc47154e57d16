"""Runs one operation: document, authorization, transaction, loading and execution."""
