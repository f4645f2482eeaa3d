"""Hostile input by the thousand, against a real server: `make fuzz`; a small share of it is in `make test`."""
