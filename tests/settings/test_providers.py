"""What goes without saying of a sign-in provider."""

import json

import pytest

from app import providers


@pytest.mark.parametrize(
    ("issuer", "api"),
    [
        ("", "https://api.github.com"),
        ("https://octo.ghe.com", "https://api.octo.ghe.com"),
        ("https://github.example.org", "https://github.example.org/api/v3"),
        ("https://notghe.com.example.org", "https://notghe.com.example.org/api/v3"),
    ],
)
def test_where_the_api_of_a_github_is(issuer: str, api: str) -> None:
    said = {"name": "github", "preset": "github", "client_id": "g", "issuer": issuer}

    (provider,) = providers.parse(json.dumps([said]))

    assert provider.api == api
    assert api in providers.named_urls((provider,))
