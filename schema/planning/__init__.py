"""Plans of operations: compiled once from a document, and run level by level. See docs/execution.md."""
