"""The console script `gatehouse`."""
