"""Statements on accounts and rights."""

from collections.abc import Iterable, Mapping, Sequence

import asyncpg
import msgspec
from msgspec import Struct

from app.cache.entries import Truth
from app.database import Database, Transaction
from app.errors import NotFound
from app.identity.structs import CachedUser, UserEntry
from app.providers import LOCAL
from db import locks

COLUMNS = """
    u.id, u.username, u.email, u.email_verified, u.full_name, u.is_active,
    ARRAY(SELECT r.role FROM user_roles r WHERE r.user_id = u.id ORDER BY r.role) AS roles,
    u.mfa_enabled, u.provider, u.must_change_password, u.created_at, u.updated_at, u.last_login
"""


def entry(row: asyncpg.Record) -> UserEntry:
    """The person of a row that has COLUMNS."""
    return UserEntry(*(row[name] for name in UserEntry.__struct_fields__))


# ---- looking ------------------------------------------------------------------------------------------------------


CACHED = f"""
    SELECT {COLUMNS},
           ARRAY(SELECT (extract(epoch FROM o.created_at) * 1000000)::bigint
                 FROM user_roles r JOIN roles o ON o.name = r.role WHERE r.user_id = u.id ORDER BY r.role) AS roles_made
    FROM users u WHERE u.id = ANY($1::bigint[])
"""  # noqa: S608 - constants


async def truths(db: Database, user_ids: Sequence[str]) -> Mapping[str, Truth]:
    """What PostgreSQL says of these people, for the cache."""
    rows = await db.fetch(CACHED, [int(user_id) for user_id in user_ids])
    people = [CachedUser(*(row[name] for name in CachedUser.__struct_fields__)) for row in rows]
    return {str(person.id): Truth(msgspec.msgpack.encode(person)) for person in people}


ACCOUNT = "id, is_active, password_hash, email IS NOT NULL AS has_email, mfa_enabled, provider, username"


class Account(Struct, frozen=True):
    """As much of an account as a login has to know."""

    id: int
    is_active: bool
    password_hash: str | None
    has_email: bool
    mfa_enabled: bool
    provider: str
    username: str

    @property
    def usable_hash(self) -> str | None:
        return self.password_hash if self.is_active else None


async def by_name(db: Database, username: str, email: str | None) -> Account | None:
    """Whom somebody who signs in means: a local user of this name, or the user of this address."""
    if email is not None:
        row = await db.fetchrow(f"SELECT {ACCOUNT} FROM users WHERE email = $1", email)  # noqa: S608 - constants
    else:
        row = await db.fetchrow(
            f"SELECT {ACCOUNT} FROM users WHERE provider = 'local' AND lower(username) = lower($1)",  # noqa: S608
            username,
        )
    return None if row is None else Account(*row)


async def by_id(db: Database | Transaction, user_id: int) -> asyncpg.Record | None:
    return await db.fetchrow(
        f"SELECT {COLUMNS}, u.password_hash FROM users u WHERE u.id = $1",  # noqa: S608 - constants
        user_id,
    )


async def usernames(db: Database, user_ids: Sequence[int]) -> Mapping[int, str]:
    """What these people are called; who is gone is not among them."""
    rows = await db.fetch("SELECT id, username FROM users WHERE id = ANY($1::bigint[])", user_ids)
    return {row["id"]: row["username"] for row in rows}


async def hold(tx: Transaction, user_id: int) -> UserEntry:
    """A user who is there, held until the transaction ends.

    Raises:
        NotFound: he is not (any more).
    """
    row = await lock(tx, user_id)
    if row is None:
        raise NotFound
    return entry(row)


async def person(tx: Transaction, user_id: int) -> UserEntry:
    """A user whose row this transaction holds."""
    row = await by_id(tx, user_id)
    assert row is not None  # noqa: S101 - it is held
    return entry(row)


async def taken(tx: Transaction, username: str, email: str | None) -> tuple[bool, bool]:
    """Which of a name and an address somebody has."""
    row = await tx.fetchrow(
        """
        SELECT EXISTS (SELECT FROM users WHERE provider = 'local' AND lower(username) = lower($1)) AS username,
               EXISTS (SELECT FROM users WHERE email = $2) AS email
        """,
        username,
        email,
    )
    return (bool(row and row["username"]), bool(row and row["email"]))


async def email_taken(db: Database, email: str) -> bool:
    return await db.fetchrow("SELECT FROM users WHERE email = $1", email) is not None


async def id_by_email(tx: Transaction, email: str) -> int | None:
    user_id: int | None = await tx.fetchval("SELECT id FROM users WHERE email = $1", email)
    return user_id


async def take_first(tx: Transaction) -> bool:
    """Whether there is nobody yet; until the transaction ends nobody else can find out."""
    await tx.execute("SELECT pg_advisory_xact_lock($1)", locks.FIRST_ADMIN)
    empty: bool = await tx.fetchval("SELECT NOT EXISTS (SELECT FROM users)")
    return empty


# ---- changing -----------------------------------------------------------------------------------------------------


async def add(
    tx: Transaction,
    *,
    username: str,
    email: str | None,
    full_name: str | None,
    password_hash: str | None,
    is_active: bool = True,
    must_change_password: bool = False,
    email_verified: bool = False,
    provider: str = LOCAL,
) -> int | None:
    """A new user's id; None if the name or the address is taken, which the indexes decide."""
    user_id: int | None = await tx.fetchval(
        """
        INSERT INTO users
            (username, email, full_name, password_hash, is_active, must_change_password, email_verified, provider)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING RETURNING id
        """,
        username,
        email,
        full_name,
        password_hash,
        is_active,
        must_change_password,
        email_verified,
        provider,
    )
    return user_id


async def set_mfa(tx: Transaction, user_id: int, *, enabled: bool) -> None:
    await tx.execute("UPDATE users SET mfa_enabled = $2, updated_at = now() WHERE id = $1", user_id, enabled)


async def set_full_name(tx: Transaction, user_id: int, full_name: str | None) -> None:
    await tx.execute("UPDATE users SET full_name = $2, updated_at = now() WHERE id = $1", user_id, full_name)


async def set_email(tx: Transaction, user_id: int, email: str | None, *, verified: bool) -> None:
    """Raises asyncpg.UniqueViolationError where the address is taken."""
    await tx.execute(
        """
        UPDATE users SET email = $2, email_verified = $3, updated_at = now()
        WHERE id = $1 AND (email, email_verified) IS DISTINCT FROM ($2, $3)
        """,
        user_id,
        email,
        verified,
    )


async def set_password(
    tx: Transaction, user_id: int, password_hash: str | None, *, was: str | None = None, must_change: bool = False
) -> bool:
    """A new password, or none any more; with `was` only in the place of that one."""
    return await _hit(
        tx,
        """
        UPDATE users SET password_hash = $2, must_change_password = $3, updated_at = now()
        WHERE id = $1 AND ($4::text IS NULL OR password_hash = $4) RETURNING id
        """,
        user_id,
        password_hash,
        must_change,
        was,
    )


async def lacks_password(tx: Transaction, user_id: int) -> bool:
    found: bool = await tx.fetchval("SELECT password_hash IS NULL FROM users WHERE id = $1", user_id)
    return found


async def lacks_password_login(on: Database | Transaction, user_id: int) -> bool:
    """Whether no password signs him in: there is none, or no name that it would be asked with (see `by_name`)."""
    row = await on.fetchrow(
        f"SELECT FROM users WHERE id = $1 AND password_hash IS NOT NULL AND (provider = '{LOCAL}' OR email IS NOT NULL)",  # noqa: E501
        user_id,
    )
    return row is None


async def displace(tx: Transaction, email: str, user_id: int) -> list[int]:
    """Take an address from whoever has it without having proved it, for one who has; whose it was."""
    rows = await tx.fetch(
        """
        UPDATE users SET email = NULL, updated_at = now() WHERE email = $1 AND id <> $2 AND NOT email_verified
        RETURNING id
        """,
        email,
        user_id,
    )
    return [row["id"] for row in rows]


async def has_password(tx: Transaction, user_id: int, password_hash: str) -> bool:
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM users WHERE id = $1 AND password_hash = $2)", user_id, password_hash
    )
    return found


async def lock(tx: Transaction, user_id: int, *, email: str | None = None) -> asyncpg.Record | None:
    """The user, held until the transaction ends, and with him whoever has this address: everybody by ascending ids."""
    await tx.execute("SELECT FROM users WHERE id = $1 OR email = $2 ORDER BY id FOR NO KEY UPDATE", user_id, email)
    return await by_id(tx, user_id)


async def update(
    tx: Transaction,
    user_id: int,
    *,
    email: str | None,
    email_verified: bool,
    full_name: str | None,
    is_active: bool,
    must_change_password: bool,
) -> None:
    """Raises asyncpg.UniqueViolationError where the address is taken."""
    await tx.execute(
        """
        UPDATE users SET email = $2, email_verified = $3, full_name = $4, is_active = $5, must_change_password = $6,
               updated_at = now()
        WHERE id = $1
        """,
        user_id,
        email,
        email_verified,
        full_name,
        is_active,
        must_change_password,
    )


async def delete(tx: Transaction, user_id: int) -> None:
    await tx.execute("DELETE FROM users WHERE id = $1", user_id)


# ---- rights -------------------------------------------------------------------------------------------------------


async def allowed(db: Database | Transaction, roles: Iterable[str]) -> frozenset[str]:
    """What these roles allow together, but for `admin`, which has no list."""
    rows = await db.fetch("SELECT permission FROM role_permissions WHERE role = ANY($1::text[])", roles)
    return frozenset(row["permission"] for row in rows)


async def role_table_number(db: Database) -> bytes:
    row = await db.fetchrow("SELECT number FROM role_table")
    return str(row["number"] if row else 0).encode()


async def role_table(db: Database) -> tuple[bytes, list[asyncpg.Record]]:
    """The number and the table that it numbers (`name`, `made`, `permissions`), of one snapshot.

    When a role was made is in microseconds since 1970, as in `CACHED`; `admin` may do whatever there is to do.
    """
    rows = await db.fetch(
        """
        SELECT t.number, r.name, (extract(epoch FROM r.created_at) * 1000000)::bigint AS made,
               CASE WHEN r.name = 'admin' THEN ARRAY(SELECT name FROM permissions)
               ELSE ARRAY(SELECT permission FROM role_permissions p WHERE p.role = r.name) END AS permissions
        FROM role_table t CROSS JOIN roles r
        """
    )
    return str(rows[0]["number"] if rows else 0).encode(), rows


async def set_roles(tx: Transaction, user_id: int, roles: Sequence[str]) -> list[str]:
    """Give a user exactly these roles; those of them that do not exist, or are just being renamed or deleted."""
    rows = await tx.fetch("SELECT name FROM roles WHERE name = ANY($1::text[]) ORDER BY name FOR KEY SHARE", roles)
    there = [row["name"] for row in rows]
    await tx.execute("DELETE FROM user_roles WHERE user_id = $1 AND role <> ALL($2::text[])", user_id, there)
    await tx.execute(
        "INSERT INTO user_roles (user_id, role) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING", user_id, there
    )
    return [role for role in roles if role not in there]


async def set_admin(tx: Transaction, user_id: int, *, is_admin: bool) -> None:
    """Whatever other roles he has, and is just given."""
    if is_admin:
        await tx.execute("INSERT INTO user_roles (user_id, role) VALUES ($1, 'admin') ON CONFLICT DO NOTHING", user_id)
    else:
        await tx.execute("DELETE FROM user_roles WHERE user_id = $1 AND role = 'admin'", user_id)


async def hold_admins(tx: Transaction) -> None:
    """Let changes that may take away an administrator come one after the other."""
    await tx.execute("SELECT FROM roles WHERE name = 'admin' FOR NO KEY UPDATE")


async def has_active_admin(tx: Transaction) -> bool:
    found: bool = await tx.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM user_roles r JOIN users u ON u.id = r.user_id WHERE r.role = 'admin' AND u.is_active
        )
        """
    )
    return found


async def _hit(tx: Transaction, query: str, *args: object) -> bool:
    return await tx.fetchval(query, *args) is not None
