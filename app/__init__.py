"""Gatehouse: an authentication service."""
