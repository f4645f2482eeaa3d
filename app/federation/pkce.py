"""Proof Key for Code Exchange (RFC 7636): ours for the provider, and the application's for us."""

import hashlib
import hmac
import secrets

from app import base64url

VERIFIER_BYTES = 32  # RFC 7636 §4.1


def new_verifier() -> str:
    return secrets.token_urlsafe(VERIFIER_BYTES)


def s256(verifier: str) -> str:
    """The challenge of a verifier (§4.2)."""
    return base64url.encode(hashlib.sha256(verifier.encode()).digest())


def fits(verifier: str, challenge: str) -> bool:
    return hmac.compare_digest(s256(verifier), challenge)
