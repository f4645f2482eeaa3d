"""Hostile input by the thousand, against a real server: `make fuzz`; a tenth of it is in `make test`."""
