"""Federation as gateways see it: another subgraph beside Headwater, composed, and asked through Apollo Gateway."""
