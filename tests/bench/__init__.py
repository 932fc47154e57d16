"""The service beside its floor: `make bench`."""
