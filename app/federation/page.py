"""What a person sees whose sign-in comes to nothing."""

import hashlib
from base64 import b64encode
from http import HTTPStatus

from jinja2 import Environment, select_autoescape

from app.errors import AppError

STYLE = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 15vh auto; padding: 0 1.5rem; color: #1b1f24 }
h1 { font-size: 1.25rem } a { color: #0b57d0 } small { color: #57606a }
@media (prefers-color-scheme: dark) { body { background: #14171a; color: #e6e8ea } a { color: #8ab4f8 } }
"""
POLICY = (
    f"default-src 'none'; style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
TEMPLATE = Environment(autoescape=select_autoescape(default=True, default_for_string=True)).from_string(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{ status }} {{ phrase }}</title>
<style>{{ style | safe }}</style>
</head>
<body>
<h1>You are not signed in</h1>
<p>{{ error.title }}{% if error.detail != error.title %} {{ error.detail }}{% endif %}</p>
{% if back %}<p><a href="{{ back }}">Back to the application</a></p>{% endif %}
<small>{{ error.code }} · {{ request_id }}</small>
</body>
</html>
"""
)


def page(error: AppError, request_id: str, back: str | None) -> str:
    """The error as a page, with a way back to the application where it is known which one that is."""
    phrase = HTTPStatus(error.status).phrase
    return TEMPLATE.render(
        status=error.status, phrase=phrase, style=STYLE, error=error, back=back, request_id=request_id
    )
