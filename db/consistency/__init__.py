"""Rules between subjects: lifetimes, what a deletion takes along, cardinality, and conflicts within a batch."""
