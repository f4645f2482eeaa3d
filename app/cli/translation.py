"""Errors of the service and its stores in one line for the person at the terminal."""

import asyncpg
from sqlalchemy.exc import DBAPIError

from app.database import UNREACHABLE, DatabaseUnavailable
from app.errors import AppError, ValidationFailed
from db.incarnation import Unfit


def translate(error: BaseException) -> str | None:
    """None for an error that nobody foresaw."""
    found = _origin(error)
    if isinstance(found, ValidationFailed):
        return "; ".join(f"{each['field']} {each['message']}" for each in found.errors)
    if isinstance(found, AppError | Unfit):
        return found.detail
    if isinstance(found, asyncpg.UndefinedTableError | asyncpg.UndefinedColumnError):
        return "the schema of the database is missing or old: run `gatehouse migrate` first"
    if isinstance(found, UNREACHABLE):
        return f"PostgreSQL (DATABASE_URL) cannot be used: {str(found) or 'no answer in time'}"
    if isinstance(found, asyncpg.PostgresError):
        return f"PostgreSQL refused: {found}"
    return None


def _origin(error: BaseException) -> BaseException:
    """The driver's own error, where it comes wrapped."""
    while isinstance(error, DatabaseUnavailable | DBAPIError) and error.__cause__ is not None:
        error = error.__cause__
    return error
