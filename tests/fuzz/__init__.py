"""Hostile input by the thousand, against a real server: `make fuzz`; a piece of it is in `make test`."""
