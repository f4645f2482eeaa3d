"""The lines of imports and exports (NDJSON): how they are cut, read and answered; nothing here asks a store."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterable, Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from app.errors import AppError, PayloadTooLarge, ValidationFailed
from app.identity import names
from app.identity.stored_hashes import LONGEST
from app.identity.structs import Email, FullName, Password, RoleName, Username
from app.reading import decode, field_error
from app.sessions.structs import Time

MAX_LINE_BYTES = 65_536  # a hundred roles and the longest password, each character of it escaped, are less
BATCH = 250  # lines a transaction: some 30 ms of PostgreSQL's time
STRETCH = 0.002  # seconds of the loop's for lines at a stretch: most take 0.01 ms, one of brackets alone 8 ms

Read = Annotated[object, Meta(description="Of an export; it is read over.")]


class ImportLine(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user. Of one who is there already, what is not named stays as it is, and the password always does."""

    username: Username
    email: Email | UnsetType | None = UNSET
    full_name: FullName | UnsetType | None = UNSET
    password: Annotated[Password, Meta(description="Of who is new; strength-checked and hashed.")] | None = None
    password_hash: (
        Annotated[str, Meta(min_length=1, max_length=LONGEST, description="argon2, bcrypt, scrypt or PBKDF2.")] | None
    ) = None
    is_admin: bool | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    roles: Annotated[list[RoleName], Meta(max_length=100)] | UnsetType = UNSET
    must_change_password: Annotated[bool, Meta(description="Of who is new.")] = False
    provider: Annotated[
        Literal["local"] | UnsetType, Meta(description="Whose password another service keeps, that one brings him.")
    ] = UNSET
    id: Read = UNSET
    email_verified: Annotated[object, Meta(description="Of an export; who is new has to prove his address here.")] = (
        UNSET
    )
    mfa_enabled: Read = UNSET
    created_at: Read = UNSET
    updated_at: Read = UNSET
    last_login: Read = UNSET

    def __post_init__(self) -> None:
        if self.password is not None and self.password_hash is not None:
            raise ValueError("takes either password or password_hash")

    def __repr__(self) -> str:
        return f"ImportLine(username={self.username!r}, password=...)"


class ExportLine(Struct, frozen=True, kw_only=True):
    """A user as an import takes him, and what there is to know beside that."""

    username: str
    email: str | None
    full_name: str | None
    is_admin: bool
    is_active: bool
    roles: list[str]
    must_change_password: bool
    provider: Annotated[str, Meta(description="Who keeps the account: `local`, or a sign-in provider.")]
    id: int
    email_verified: bool
    mfa_enabled: bool
    created_at: Time
    updated_at: Time
    last_login: Time | None
    password_hash: Annotated[
        str | UnsetType | None, Meta(description="By the command line alone, where it is asked for.")
    ] = UNSET

    def __repr__(self) -> str:
        return f"ExportLine(username={self.username!r}, password_hash=...)"


class ReportLine(Struct, frozen=True, kw_only=True):
    """What has become of a line."""

    line: Annotated[int, Meta(ge=1, description="Its number; those that are blank count.")]
    status: Literal["created", "updated", "skipped", "error"]
    id: int | UnsetType = UNSET
    code: Annotated[str, Meta(description="Of an error, as elsewhere.")] | UnsetType = UNSET
    message: Annotated[str, Meta(description="For people; never what the line said.")] | UnsetType = UNSET


class Numbered(Struct, frozen=True):
    """A line that can be read, its values in the form that they are kept in."""

    number: int
    line: ImportLine

    @property
    def key(self) -> str:
        """The name, as it is compared."""
        return self.line.username.lower()


Cut = tuple[int, bytes | None]  # a line and its number; None if it is too long


class Lines:
    """Cuts what comes in pieces into lines."""

    def __init__(self) -> None:
        self._begun = bytearray()
        self._too_long = False
        self.number = 0

    def cut(self, piece: bytes) -> Iterator[Cut]:
        """The lines that end in this piece, but for blank ones."""
        first, *others = piece.split(b"\n")
        self._go_on(first)
        for each in others:
            yield from self.end()
            self._go_on(each)

    def end(self) -> Iterator[Cut]:
        """The line that has begun ends here."""
        line, too_long = bytes(self._begun), self._too_long
        self._begun.clear()
        self._too_long = False
        self.number += 1
        if too_long or line.strip():
            yield self.number, None if too_long else line

    def _go_on(self, part: bytes) -> None:
        if len(self._begun) + len(part) > MAX_LINE_BYTES:
            self._too_long = True
            self._begun.clear()
        elif not self._too_long:
            self._begun += part


async def batches(body: AsyncIterable[bytes], most_lines: int | None) -> AsyncGenerator[list[Cut]]:
    """The lines of a body, some at a time.

    Raises:
        PayloadTooLarge: there are more than `most_lines`.
    """
    lines, batch = Lines(), list[Cut]()
    async for piece in body:
        for cut in lines.cut(piece):
            batch.append(cut)
            if len(batch) == BATCH:
                _bound(lines.number, most_lines)
                yield batch
                batch = []
        _bound(lines.number, most_lines)  # blank ones fill no batch
    batch += lines.end()
    if batch:
        _bound(lines.number, most_lines)
        yield batch


def _bound(number: int, most_lines: int | None) -> None:
    if most_lines is not None and number > most_lines:
        raise PayloadTooLarge(f"At most {most_lines:,} lines may come at once.")


def read(cut: Cut) -> Numbered:
    """What a line says.

    Raises:
        PayloadTooLarge: it is too long.
        MalformedRequest: it is no JSON, or not of one meaning.
        ValidationFailed: it does not describe a user.
    """
    number, raw = cut
    if raw is None:
        raise PayloadTooLarge(f"A line has at most {MAX_LINE_BYTES:,} bytes.")
    try:
        line = msgspec.convert(decode(raw, "line"), ImportLine)
    except msgspec.ValidationError as error:
        raise ValidationFailed(field_error({"message": str(error)})) from None
    names.local_username(line.username)
    if isinstance(line.email, str):
        line = msgspec.structs.replace(line, email=names.email(line.email))
    if isinstance(line.full_name, str):
        line = msgspec.structs.replace(line, full_name=names.full_name(line.full_name))
    return Numbered(number, line)


def refused(number: int, error: AppError) -> ReportLine:
    """The report of a line that could not be taken."""
    message = error.detail
    if isinstance(error, ValidationFailed):
        message = "; ".join(f"{each['field']} {each['message']}" for each in error.errors)
    return ReportLine(line=number, status="error", code=error.code, message=message)


async def give_way(since: float) -> float:
    """Let others have the loop if lines have been read for long enough since then; since when they are read now."""
    if time.monotonic() - since < STRETCH:
        return since
    await asyncio.sleep(0)
    return time.monotonic()
