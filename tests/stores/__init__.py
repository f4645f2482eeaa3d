"""Stores as others run them: sentinels, clusters, poolers."""
