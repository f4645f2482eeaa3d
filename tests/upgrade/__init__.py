"""A release beside the one before it, on the schema of the newer: `make test-upgrade`."""
