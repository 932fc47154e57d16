"""Rules across subjects: lifetimes of assets, effects of a deletion, cardinality, and conflicts within a batch."""
