"""Federation as gateways see it: another subgraph beside Headwater, composed, and asked through Apollo Gateway.

The overrides in package.json hold back two packages whose later versions want a Node later than 20.
"""
