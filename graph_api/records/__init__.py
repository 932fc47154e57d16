"""External records: configuration of the services that hold them, checks of addresses, and fetching over HTTP."""
