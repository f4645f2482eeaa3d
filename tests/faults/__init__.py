"""Faults on purpose: real replicas, real stores, what clients saw, and whether all of it can be true."""
