"""Load from outside: imports nothing of the service, and works on any that keeps the same contract."""
