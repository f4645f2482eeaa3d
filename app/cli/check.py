"""`gatehouse check`: what is wrong with settings and stores, and how to mend it; shows no password and no key."""

import argparse
import asyncio
import math
import time
from collections.abc import AsyncGenerator, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import distribution, version
from typing import Any, Literal
from urllib.parse import urlsplit

import asyncpg
from argon2 import PasswordHasher
from valkey.exceptions import ValkeyError

from app import valkey_url
from app.cache.link import find
from app.cache.server import Server, close
from app.cli import database
from app.cli.terminal import answer
from app.database import OWN
from app.errors import Unavailable
from app.federation import configured
from app.federation.answers import ProviderUnusable
from app.gpustack.answers import GpustackAway, GpustackMisconfigured
from app.gpustack.directory import Directory
from app.gpustack.instance import Instance, State
from app.mail.letters import Letters
from app.mail.smtp import ServerAway, Smtp
from app.metrics import Metrics
from app.outbound import Outbound
from app.proofs.tokens import DAY, LONGEST
from app.providers import named_urls
from app.setting_values import LOOPBACK
from app.settings import Settings, load
from db import grants, incarnation, revisions

TIMEOUT = 2.0  # seconds; a store on the same network answers in milliseconds
HASHES = 5  # of which the fastest counts: the others shared their core with somebody
SLOW_HASH_MS = 250.0  # a core signs fewer than four people in a second
MIN_POSTGRES = 14
STANDBYS = "SELECT count(*) FROM pg_stat_replication"
MIN_VALKEY, MIN_REDIS = (8,), (7,)  # older ones may work, and are not tried


@dataclass(frozen=True)
class Finding:
    status: Literal["ok", "warning", "error"]
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.status:<8} {self.subject:<12} {self.message}"


def run(arguments: argparse.Namespace) -> int:
    settings = load(env_file=arguments.env_file)
    findings = asyncio.run(_all(settings, arguments.workers))
    failed = any(finding.status == "error" for finding in findings)
    answer(arguments, {"ok": not failed, "findings": [asdict(f) for f in findings]}, *map(str, findings))
    return 1 if failed else 0


async def _all(settings: Settings, workers: int) -> list[Finding]:
    findings = list(_settings(settings))
    findings += [finding async for finding in _postgres(settings, workers)]
    findings += [finding async for finding in _valkey(settings)]
    findings += [finding async for finding in _mail(settings)]
    findings += [finding async for finding in _providers(settings)]
    findings += [finding async for finding in _gpustack(settings)]
    findings.append(_argon2(settings))
    return findings


def _settings(settings: Settings) -> Iterator[Finding]:
    yield Finding("ok", "settings", f"{settings.environment}, {settings.public_url}")
    if settings.development:
        yield Finding("warning", "settings", "ENVIRONMENT=development is for a laptop: remove it where others sign in")
    elif not settings.metrics_token:
        yield Finding("warning", "metrics", "/metrics answers 404: set METRICS_TOKEN to a token, or to off to open it")
    if settings.secret_key_previous:
        days = max(settings.refresh_token_expire_days, math.ceil(LONGEST / DAY))
        hint = f"unset it {days} days after every replica has the new SECRET_KEY: until then what it has made is good"
        yield Finding("warning", "settings", f"SECRET_KEY_PREVIOUS is still set; {hint}")


async def _postgres(settings: Settings, workers: int) -> AsyncGenerator[Finding]:
    where = _where(settings.database_url)
    try:
        async with database.connection(settings) as db:
            number = await db.fetchval("SHOW server_version")
            if db.get_server_version().major < MIN_POSTGRES:
                yield Finding("error", "postgresql", f"{number} at {where} is too old: {MIN_POSTGRES} is the oldest")
            else:
                yield Finding("ok", "postgresql", f"{number} at {where}")
            yield await _migrations(db)
            yield await _incarnation(db, settings)
            yield await _audit(db, settings)
            yield await _session(db, settings)
            yield await _connections(db, settings, workers)
    except Unavailable as error:
        reason = str(error.__cause__) or "no answer in time"
        hint = "see DATABASE_URL, and that it runs"
        if "unsupported startup parameter" in reason:
            hint = "if that is PgBouncer's word, set DATABASE_POOLER=transaction"
        yield Finding("error", "postgresql", f"{where} cannot be used: {reason}; {hint}")


async def _migrations(db: database.Connection) -> Finding:
    applied = await revisions.applied(db)
    if missing := revisions.missing(applied):
        return Finding("error", "migrations", f"missing: {', '.join(missing)}; run `gatehouse migrate`")
    release = version("gatehouse")
    if oldest := revisions.needed(applied, release):
        return Finding("error", "migrations", f"the schema needs release {oldest} or newer; this is {release}")
    return Finding("ok", "migrations", "at head")


async def _incarnation(db: database.Connection, settings: Settings) -> Finding:
    """Whether the data are a copy out of a backup, and whether a failover would be taken for one."""
    try:
        told_by = await incarnation.copied(db, lossless_failover=settings.lossless_failover)
    except asyncpg.UndefinedFunctionError:
        told_by = [incarnation.SCHEMA]
    if told_by:
        return Finding("error", "data", f"told by {', '.join(told_by)}: {incarnation.hint(told_by)}")
    if await db.fetchval(STANDBYS) and not settings.lossless_failover:
        hint = "set LOSSLESS_FAILOVER=on where it is synchronous, or run `gatehouse restored` after each failover"
        return Finding("warning", "data", f"a replica that takes over counts as a restored backup: {hint}")
    if settings.lossless_failover and not await db.fetchval("SHOW synchronous_standby_names"):
        hint = "set synchronous_standby_names, or LOSSLESS_FAILOVER=off"
        return Finding("warning", "data", f"LOSSLESS_FAILOVER is on, and no replica is synchronous: {hint}")
    return Finding("ok", "data", "written here, no copy out of a backup")


async def _audit(db: database.Connection, settings: Settings) -> Finding:
    """Whether an intruder who speaks as the service could take its traces away."""
    found = await grants.held(db)
    if found is None:
        return Finding("ok", "audit", "the service may change the audit trail; docs/security.md says how to end that")
    role, days = found
    if days > settings.audit_retention_days:
        hint = "run `gatehouse migrate` with the same AUDIT_RETENTION_DAYS"
        text = f"{role} cannot delete events of the last {days} days, as AUDIT_RETENTION_DAYS asks: {hint}"
        return Finding("warning", "audit", text)
    return Finding("ok", "audit", f"{role} can only add to the audit trail, and delete what is older than {days} days")


async def _session(db: database.Connection, settings: Settings) -> Finding:
    """Whether statements that nobody waits for end by themselves: behind a pooler that is the role's to say."""
    lacking = [f"{name} = '{value}'" for name, value in OWN.items() if await db.fetchval(f"SHOW {name}") != value]
    if not lacking:
        return Finding("ok", "session", ", ".join(f"{name} {value}" for name, value in OWN.items()))
    if not settings.pooled:
        hint = "if a pooler stands between, set DATABASE_POOLER=transaction"
        return Finding("warning", "session", f"what was asked of it is not so: {', '.join(lacking)}; {hint}")
    role = await db.fetchval("SELECT quote_ident(current_user)")
    hint = "; ".join(f"ALTER ROLE {role} SET {each}" for each in lacking)
    return Finding("warning", "session", f"no pooler carries these along, so the role should have them: {hint}")


async def _connections(db: database.Connection, settings: Settings, workers: int) -> Finding:
    budget = await database.budget(db, settings, workers, running=True)
    text = f"{budget.own} of this server (--workers {workers}) and {budget.others} of others, of {budget.limit}"
    if settings.pooled:
        text = f"{budget.own} of this server (--workers {workers}) to the pooler, which bounds those to PostgreSQL"
        return Finding("ok", "connections", f"{text} and has to have room for them: max_client_conn")
    if budget.suffices:
        return Finding("ok", "connections", text)
    return Finding("warning", "connections", f"{text}; raise max_connections, or lower DATABASE_POOL_SIZE or --workers")


async def _valkey(settings: Settings) -> AsyncGenerator[Finding]:
    url = valkey_url.parse(settings.valkey_url)
    try:
        async with asyncio.timeout(TIMEOUT):
            found = await find(url)
            infos = [(server, await _info(server)) for server in found.servers]
    except (ValkeyError, OSError, TimeoutError, ValueError) as error:  # ValueError: an answer that cannot be read
        reason = str(error) or "no answer in time"
        where = _where(settings.valkey_url)
        yield Finding("error", "valkey", f"{where} cannot be used: {reason}; see VALKEY_URL, and that it runs")
        return
    for server, info in infos:
        host, port = server.address
        yield _server(info, f"{host}:{port}")
        yield _memory(info)
    if not settings.development and not url.encrypted and any(host not in LOOPBACK for host, _ in url.hosts):
        yield Finding("warning", "valkey", "the way to it is not encrypted: use valkeys:// in VALKEY_URL")


async def _info(server: Server) -> dict[str, Any]:
    client = server.client()
    try:
        info: dict[str, Any] = await client.info()
    finally:
        await close(client)
    return info


def _server(info: dict[str, Any], where: str) -> Finding:
    ours = info.get("valkey_version")
    name, oldest = ("Valkey", MIN_VALKEY) if ours else ("Redis", MIN_REDIS)
    number = str(ours or info.get("redis_version"))
    if _numbers(number) < oldest:
        return Finding(
            "warning", "valkey", f"{name} {number} at {where} is older than what is tried: {name} {oldest[0]}"
        )
    return Finding("ok", "valkey", f"{name} {number} at {where}")


def _memory(info: dict[str, Any]) -> Finding:
    """A full server that evicts nothing refuses writes: sessions are then read from PostgreSQL."""
    policy, most = str(info.get("maxmemory_policy")), int(info.get("maxmemory", 0))
    if most and policy == "noeviction":
        return Finding(
            "warning", "valkey", "maxmemory-policy is noeviction: set volatile-ttl, or a full cache stays full"
        )
    bound = f"{most >> 20} MiB" if most else "no bound"
    return Finding("ok", "valkey", f"maxmemory {bound}, {policy}")


async def _mail(settings: Settings) -> AsyncGenerator[Finding]:
    letters = Letters(settings, lambda link: link.purpose)
    for fault in letters.faults():
        yield Finding("error", "mail", f"a template cannot be used: {fault}; see MAIL_TEMPLATES_DIR")
    if not settings.smtp_url:
        if settings.development:
            yield Finding("ok", "mail", "printed to the console")
        else:
            hint = "set SMTP_URL and MAIL_FROM"
            yield Finding("warning", "mail", f"none can be sent, and what would mail answers 503: {hint}")
        return
    where = _where(settings.smtp_url)
    server = Smtp(settings.smtp_url, letters.sender)
    try:
        async with server.connection():
            yield Finding("ok", "mail", f"handed to {where}, from {letters.sender}")
    except ServerAway as away:
        yield Finding("error", "mail", f"{where} cannot be used: {away.reason}; see SMTP_URL, and that it runs")
    if not server.private:
        hint = "use smtp+starttls:// or smtps:// in SMTP_URL"
        yield Finding("warning", "mail", f"the way to it is encrypted only where the server offers it: {hint}")


async def _providers(settings: Settings) -> AsyncGenerator[Finding]:
    """Each says of itself what it should, or nobody can sign in there."""
    outbound = Outbound(named_urls(settings.oidc_providers), settings.outbound_ca_file)
    for name, provider in configured.providers(settings, outbound).items():
        try:
            await provider.check()
        except ProviderUnusable as unusable:
            hint = "see `issuer` in OIDC_PROVIDERS, and OUTBOUND_CA_FILE"
            yield Finding("error", "providers", f"{name} at {provider.provider.issuer}: {unusable.reason}; {hint}")
        else:
            yield Finding("ok", "providers", f"{name} at {provider.provider.issuer}")


async def _gpustack(settings: Settings) -> AsyncGenerator[Finding]:
    """It is there, refuses whom it should, and shows its list to our key."""
    url = settings.gpustack_url
    if not url:
        return
    instance = Instance(url, Outbound([url], settings.outbound_ca_file), Metrics())
    await instance.look()
    if instance.state is not State.OK:
        yield Finding("error", "gpustack", f"{url}: {instance.reason}; see GPUSTACK_URL, and OUTBOUND_CA_FILE")
        return
    directory = Directory(instance, settings.gpustack_api_key)
    if not directory.has_key:
        yield Finding("warning", "gpustack", f"{url}: without GPUSTACK_API_KEY nobody is deactivated by its list")
        return
    try:
        reader = await directory.reader()
    except (GpustackAway, GpustackMisconfigured) as refused:
        yield Finding("error", "gpustack", f"{url}: {refused.reason}; see GPUSTACK_API_KEY")
        return
    if not reader.is_admin:
        yield Finding("error", "gpustack", f"{url}: GPUSTACK_API_KEY is not an administrator's")
        return
    yield Finding("ok", "gpustack", f"{url}, by the key of {reader.username!r}")


def _argon2(settings: Settings) -> Finding:
    hasher = PasswordHasher(settings.argon2_time_cost, settings.argon2_memory_kib, settings.argon2_parallelism)
    times = []
    for _ in range(HASHES):
        started = time.perf_counter()
        hasher.hash("correct horse battery staple")
        times.append((time.perf_counter() - started) * 1000)
    ms = min(times)
    costs = f"m={settings.argon2_memory_kib} KiB, t={settings.argon2_time_cost}, p={settings.argon2_parallelism}"
    text = f"{ms:.0f} ms a hash ({costs}; {_build()})"
    if ms > SLOW_HASH_MS:
        return Finding("warning", "argon2", f"{text}: sign-ins are slow; lower ARGON2_MEMORY_KIB or ARGON2_TIME_COST")
    return Finding("ok", "argon2", f"{text}: {1000 / ms:.0f} sign-ins a second and core")


def _build() -> str:
    """Compiled for this machine it is about twice as fast as the published wheel, which is for any."""
    tags = distribution("argon2-cffi-bindings").read_text("WHEEL") or ""
    return "published wheel" if any(word in tags for word in ("manylinux", "musllinux", "macosx")) else "built here"


def _where(url: str) -> str:
    """The hosts of a URL, without its password; a URL that names none names a socket by a parameter."""
    return urlsplit(url).netloc.rpartition("@")[2] or "the given socket"


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())
