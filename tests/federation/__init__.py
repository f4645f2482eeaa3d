"""Signing in with an identity of somebody else, and what a hostile somebody else may try."""
