"""Execution of an operation: document, authorization, transaction, loading and result."""
