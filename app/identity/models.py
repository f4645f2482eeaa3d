"""Tables of accounts and rights."""

from datetime import datetime

from sqlalchemy import BigInteger, Computed, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models import Model, Time

NEVER = "'1970-01-01 00:00:00+00'::timestamp with time zone"  # a login, as far as the order by it goes
# What a search looks through; none of the three has a line break.
WORDS = "lower(username || chr(10) || COALESCE(email, ''::text) || chr(10) || COALESCE(full_name, ''::text))"


class User(Model):
    """A person. Ids are never reused; a deleted person's row is gone, the audit keeps the bare id."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    provider: Mapped[str] = mapped_column(server_default=text("'local'"))
    username: Mapped[str]
    email: Mapped[str | None]  # lower case, IDNA domain: the form it is compared in
    email_verified: Mapped[bool] = mapped_column(server_default=text("false"))
    full_name: Mapped[str | None]
    password_hash: Mapped[str | None]  # as `stored_hashes` reads it; none: cannot sign in by password
    is_active: Mapped[bool] = mapped_column(server_default=text("true"))
    must_change_password: Mapped[bool] = mapped_column(server_default=text("false"))
    mfa_enabled: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    updated_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())
    last_login: Mapped[datetime | None] = mapped_column(Time)
    # What a search looks through. Of so many words that the planner keeps, each stands for a 400th of all users.
    words: Mapped[str] = mapped_column(Computed(WORDS, persisted=True), info={"statistics": 400})

    __table_args__ = (
        Index(
            "users_local_name_key", text("lower(username)"), unique=True, postgresql_where=text("provider = 'local'")
        ),
        Index(
            "users_upstream_name_key",
            "provider",
            "username",
            unique=True,
            postgresql_where=text("provider <> 'local'"),
        ),
        Index("users_email_key", "email", unique=True),
        # What the list is searched by.
        Index("users_words_idx", "words", postgresql_using="gin", postgresql_ops={"words": "gin_trgm_ops"}),
        Index("users_full_name_idx", text('lower(full_name) COLLATE "C"')),
        Index("users_inactive_idx", "created_at", "id", postgresql_where=text("NOT is_active")),
        # Each order of it, with the words, which begin with the username: a search walks along an order without a look
        # into the table. The longest words there can be (2,094 bytes) fit into an entry with the longest address twice
        # (2,704: a third of a page). A login changes `last_login` and so enters them all.
        Index("users_username_words_idx", text('words COLLATE "C"'), "id", postgresql_include=["is_active"]),
        Index("users_created_at_words_idx", "created_at", "id", postgresql_include=["words", "is_active"]),
        Index(
            "users_address_words_idx",
            text("COALESCE(email, '') COLLATE \"C\""),
            "id",
            postgresql_include=["email", "words", "is_active"],
        ),
        Index(
            "users_last_login_words_idx",
            text(f"COALESCE(last_login, {NEVER})"),
            "id",
            postgresql_include=["last_login", "words", "is_active"],
        ),
        # They answer by themselves for pages of the table that are as they were when it was last cleaned up.
        {
            "postgresql_with": {
                "autovacuum_vacuum_scale_factor": 0.001,
                "autovacuum_vacuum_threshold": 500,
                "autovacuum_vacuum_insert_scale_factor": 0.001,
            }
        },
    )


class Role(Model):
    """A name and a set of permissions. `admin` is built in and holds all there are."""

    __tablename__ = "roles"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default=text("''"))
    built_in: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = mapped_column(Time, server_default=func.now())  # tells it from a later namesake


class Permission(Model):
    """A right: the service's own, or an application's, which has no description and is there while a role names it."""

    __tablename__ = "permissions"

    name: Mapped[str] = mapped_column(primary_key=True)
    description: Mapped[str] = mapped_column(server_default=text("''"))


class RolePermission(Model):
    """What a role may do."""

    __tablename__ = "role_permissions"

    role: Mapped[str] = mapped_column(
        ForeignKey("roles.name", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
    )
    permission: Mapped[str] = mapped_column(ForeignKey("permissions.name", ondelete="CASCADE"), primary_key=True)

    __table_args__ = (Index("role_permissions_permission_idx", "permission"),)


class UserRole(Model):
    """Who holds a role."""

    __tablename__ = "user_roles"

    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(
        ForeignKey("roles.name", ondelete="CASCADE", onupdate="CASCADE"), primary_key=True
    )

    __table_args__ = (Index("user_roles_role_user_id_idx", "role", "user_id"),)


class RoleTable(Model):
    """One row: the number of the role table, raised by every change of a role, so that a copy knows that it is old."""

    __tablename__ = "role_table"

    singleton: Mapped[bool] = mapped_column(primary_key=True, server_default=text("true"))
    number: Mapped[int] = mapped_column(BigInteger, server_default=text("1"))
