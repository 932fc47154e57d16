"""Time: versioned kinds, the change log and its fold, history, changes, differences and verification."""
