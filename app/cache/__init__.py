"""Entries in Valkey that never tell an old truth: leases, outbox, epoch (docs/decisions/0001-cache.md)."""
