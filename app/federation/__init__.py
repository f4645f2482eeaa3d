"""Signing in with an identity of somebody else: OpenID Connect, and GitHub as plain OAuth 2."""
