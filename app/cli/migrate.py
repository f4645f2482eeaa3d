"""`gatehouse migrate`: the schema to head, the rights on it, and the first administrator where one was asked for."""

import argparse
import asyncio

from app.cli import first_admin
from app.cli.refusal import NoServiceRole
from app.cli.terminal import answer
from app.settings import load
from db import grants, incarnation, restoration, schema


def run(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    missing = asyncio.run(schema.pending(settings.database_url))
    if arguments.plan:
        sql = schema.plan(missing)
        summary = f"-- missing: {', '.join(missing)}" if missing else "-- the schema is at head"
        answer(arguments, {"pending": missing, "sql": sql}, summary, sql)
        return 0
    asyncio.run(schema.upgrade(settings.database_url))
    try:
        granted = asyncio.run(grants.grant(settings.database_url, arguments.grant, settings.audit_retention_days))
    except grants.Unfit as unfit:
        raise NoServiceRole(arguments.grant, str(unfit)) from unfit
    lossless = settings.lossless_failover
    if told_by := asyncio.run(restoration.copied(settings.database_url, lossless_failover=lossless)):
        raise incarnation.Unfit(told_by)
    made = bool(settings.admin_password) and asyncio.run(first_admin.make(settings, settings.admin_password))
    lines = [f"schema: applied {', '.join(missing)}" if missing else "schema: at head, nothing to do"]
    lines += [f"granted what the service needs to {role}" for role in granted]
    if made:
        lines.append(f"made the first administrator: {settings.admin_username}")
    data = {"applied": missing, "granted": granted, "first_admin": settings.admin_username if made else None}
    answer(arguments, data, *lines)
    return 0
