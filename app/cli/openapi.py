"""`gatehouse openapi`: the document that is served at /openapi.json; asks no store and needs no setting."""

import argparse
import json

from app.cli.terminal import say
from app.documentation.document import describe
from app.main import create_app
from app.settings import InvalidSettings, load

# Nothing is signed with this key, and nobody connects to these addresses.
PLACEHOLDERS = {
    "ENVIRONMENT": "development",
    "PUBLIC_URL": "http://localhost:8000",
    "SECRET_KEY": "placeholder-which-never-signs-anything",
    "DATABASE_URL": "postgresql://localhost/gatehouse",
    "VALKEY_URL": "valkey://localhost",
}


def run(_: argparse.Namespace) -> int:
    try:
        settings = load()
    except InvalidSettings:
        settings = load(PLACEHOLDERS, env_file=None)
    say(json.dumps(describe(create_app(settings)), indent=2))
    return 0
