"""Upkeep: what has expired is deleted, and the audit's months are laid out ahead of time."""
