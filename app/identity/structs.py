"""What the wire and the cache see of a person."""

from datetime import datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, structs

from app import usernames
from app.sessions.structs import ADMIN, Time, Tokens
from app.setting_values import MOST_CODE_POINTS

Username = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=usernames.LONGEST,
        pattern=usernames.PATTERN,
        description="Letters, digits, dot, underscore, hyphen; begins with a letter or digit; compared without case.",
    ),
]
LONGEST_ADDRESS = 254  # characters as written, octets as kept (RFC 3696, erratum 1690)
LONGEST_FULL_NAME = 200  # characters, as written and as kept
Email = Annotated[
    str,
    Meta(
        min_length=3,
        max_length=LONGEST_ADDRESS,
        description="Compared in lower case; an IDNA domain may be written either way.",
    ),
]
FullName = Annotated[
    str, Meta(max_length=LONGEST_FULL_NAME, description="Kept in NFC, one space between words; a blank one is none.")
]
Password = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MOST_CODE_POINTS,
        description="PASSWORD_MIN_LENGTH (8 unless set) to 1024 characters, strength-checked.",
    ),
]
ROLE_PATTERN = "^[a-z][a-z0-9_.-]{0,63}$"
RoleName = Annotated[str, Meta(min_length=1, max_length=64, pattern=ROLE_PATTERN)]
UserId = Annotated[int, Meta(ge=1, le=2**63 - 1, description="Below 2^53.")]


class User(Struct, frozen=True, kw_only=True):
    """A person's account."""

    id: Annotated[int, Meta(description="Below 2^53; never used again.")]
    username: str
    email: str | None
    email_verified: bool
    full_name: str | None
    is_admin: Annotated[bool, Meta(description="Whether `roles` holds `admin`, which may do everything.")]
    is_active: Annotated[bool, Meta(description="Who is not active cannot sign in and has no session.")]
    roles: list[str]
    permissions: Annotated[list[str], Meta(description="What the roles allow together.")]
    mfa_enabled: bool
    provider: Annotated[str, Meta(description="Who keeps the account: `local`, or a sign-in provider.")]
    must_change_password: Annotated[bool, Meta(description="Until then most requests are 403.")]
    created_at: Time
    updated_at: Time
    last_login: Time | None


class UserEntry(Struct, frozen=True, array_like=True):
    """The user's entry in the cache: everything that `User` shows but permissions, which are the role table's."""

    id: int
    username: str
    email: str | None
    email_verified: bool
    full_name: str | None
    is_active: bool
    roles: list[str]
    mfa_enabled: bool
    provider: str
    must_change_password: bool
    created_at: datetime
    updated_at: datetime
    last_login: datetime | None

    def without(self, role: str) -> Self:
        return structs.replace(self, roles=[each for each in self.roles if each != role])

    def shown(self, permissions: frozenset[str]) -> User:
        return User(
            id=self.id,
            username=self.username,
            email=self.email,
            email_verified=self.email_verified,
            full_name=self.full_name,
            is_admin=ADMIN in self.roles,
            is_active=self.is_active,
            roles=self.roles,
            permissions=sorted(permissions),
            mfa_enabled=self.mfa_enabled,
            provider=self.provider,
            must_change_password=self.must_change_password,
            created_at=self.created_at,
            updated_at=self.updated_at,
            last_login=self.last_login,
        )


class CachedUser(UserEntry, frozen=True, array_like=True):
    """The entry as it is cached. Roles come and go meanwhile: a later one of the same name was made at another time."""

    roles_made: list[int] = []  # microseconds since 1970, in the order of the roles


class Registration(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    username: Username
    password: Password
    email: Email | None = None
    full_name: FullName | None = None

    def __repr__(self) -> str:
        return f"Registration(username={self.username!r}, password=...)"


Transport = Annotated[Literal["body", "cookie"], Meta(description="How the refresh token travels.")]


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`username` may be the e-mail address; the session is named by the device, if it has a name."""

    username: Annotated[str, Meta(min_length=1, max_length=255)]
    password: Annotated[str, Meta(min_length=1, max_length=MOST_CODE_POINTS)]
    device_name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    transport: Transport = "body"

    def __repr__(self) -> str:
        return f"Credentials(username={self.username!r}, password=...)"


Code = Annotated[str, Meta(min_length=1, max_length=16, description="Six digits of the authenticator.")]
PaperCode = Annotated[str, Meta(min_length=1, max_length=64, description="One of the ten, however it is grouped.")]


def _one(**fields: str | None) -> None:
    """Raises ValueError, which becomes 422, unless one of these fields is there, and one only."""
    if sum(value is not None for value in fields.values()) != 1:
        raise ValueError(f"takes either {' or '.join(fields)}")


class SecondStep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `code` or `recovery_code`."""

    mfa_token: Annotated[str, Meta(min_length=1, max_length=1024)]
    code: Code | None = None
    recovery_code: PaperCode | None = None
    transport: Transport = "body"

    def __post_init__(self) -> None:
        _one(code=self.code, recovery_code=self.recovery_code)

    def __repr__(self) -> str:
        return "SecondStep(...)"


class Reauthentication(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `password` or `code`; a passkey's assertion is sent as it is."""

    password: Password | None = None
    code: Code | None = None

    def __post_init__(self) -> None:
        _one(password=self.password, code=self.code)

    def __repr__(self) -> str:
        return "Reauthentication(...)"


CodeText = Annotated[str, Meta(min_length=1, max_length=256, description="`code` of the query of `redirect_to`.")]
VerifierText = Annotated[
    str,
    Meta(pattern=r"^[A-Za-z0-9._~-]{43,128}$", description="Of the challenge that the sign-in began with."),
]


class Exchange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: CodeText
    code_verifier: VerifierText
    device_name: Annotated[str, Meta(min_length=1, max_length=100)] | None = None
    transport: Transport = "body"

    def __repr__(self) -> str:
        return "Exchange(...)"


OwnPassword = Annotated[str, Meta(min_length=1, max_length=MOST_CODE_POINTS, description="Of who has one.")] | None


class TotpEnrolment(Struct, frozen=True, kw_only=True):
    """What an authenticator has to know; shown once."""

    secret: Annotated[str, Meta(description="Base32, to be typed in.")]
    otpauth_uri: str
    qr_svg: Annotated[str, Meta(description="The same as a picture (SVG).")]

    def __repr__(self) -> str:
        return "TotpEnrolment(...)"


class TotpConfirmation(Struct, frozen=True, forbid_unknown_fields=True):
    code: Code

    def __repr__(self) -> str:
        return "TotpConfirmation(...)"


class TotpRemoval(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Either `code` or, where the authenticator is lost, `recovery_code`."""

    password: OwnPassword = None
    code: Code | None = None
    recovery_code: PaperCode | None = None

    def __post_init__(self) -> None:
        _one(code=self.code, recovery_code=self.recovery_code)

    def __repr__(self) -> str:
        return "TotpRemoval(...)"


class PasswordConfirmation(Struct, frozen=True, forbid_unknown_fields=True):
    password: OwnPassword = None

    def __repr__(self) -> str:
        return "PasswordConfirmation(...)"


class RecoveryCodes(Struct, frozen=True):
    recovery_codes: Annotated[list[str], Meta(description="Ten, each good once; shown once.")]

    def __repr__(self) -> str:
        return "RecoveryCodes(...)"


class TokenResponse(Struct, frozen=True, kw_only=True):
    """RFC 6749 §5.1, with the session and the user."""

    access_token: str
    refresh_token: Annotated[str, Meta(description="Absent where it travels in the cookie.")] | UnsetType = UNSET
    token_type: str
    expires_in: Annotated[int, Meta(description="Seconds that the access token is good for.")]
    refresh_expires_in: Annotated[int, Meta(description="Seconds that the session lasts; no refresh extends it.")]
    session_id: UUID
    user: User

    def __repr__(self) -> str:
        return f"TokenResponse(session_id={self.session_id})"

    @classmethod
    def of(cls, tokens: Tokens, user: User) -> "TokenResponse":
        return cls(
            access_token=tokens.access_token,
            refresh_token=tokens.refresh_token,
            token_type="bearer",  # noqa: S106 - RFC 6750's name of a kind of token
            expires_in=tokens.expires_in,
            refresh_expires_in=tokens.refresh_expires_in,
            session_id=tokens.session_id,
            user=user,
        )


class ProfileChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not named stays as it is."""

    full_name: FullName | UnsetType | None = UNSET
    email: Email | UnsetType | None = UNSET


class PasswordChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current_password: Annotated[str, Meta(min_length=1, max_length=MOST_CODE_POINTS)]
    new_password: Password

    def __repr__(self) -> str:
        return "PasswordChange(...)"


class AccountDeletion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    password: OwnPassword = None

    def __repr__(self) -> str:
        return "AccountDeletion(...)"


class Forgotten(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    email: Email


OneTimeTokenText = Annotated[str, Meta(min_length=1, max_length=256, description="`token` of the link in the mail.")]


class MailedToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: OneTimeTokenText

    def __repr__(self) -> str:
        return "MailedToken(...)"


class PasswordReset(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    token: OneTimeTokenText
    new_password: Password

    def __repr__(self) -> str:
        return "PasswordReset(...)"


class NewUser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """With a password, `must_change_password` is true unless said otherwise; without one an invitation is mailed."""

    username: Username
    password: Password | None = None
    email: Email | None = None
    full_name: FullName | None = None
    is_admin: bool | UnsetType = UNSET
    is_active: bool = True
    roles: Annotated[list[RoleName], Meta(max_length=100)] | UnsetType = UNSET
    must_change_password: bool | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"NewUser(username={self.username!r}, password=...)"


class UserChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is not named stays as it is. A new password ends every session of the user."""

    email: Email | UnsetType | None = UNSET
    full_name: FullName | UnsetType | None = UNSET
    is_admin: bool | UnsetType = UNSET
    is_active: bool | UnsetType = UNSET
    roles: Annotated[list[RoleName], Meta(max_length=100)] | UnsetType = UNSET
    must_change_password: bool | UnsetType = UNSET
    password: Password | UnsetType = UNSET
    reason: (
        Annotated[
            str,
            Meta(
                min_length=1, max_length=200, description="Why, for the audit trail; the user finds it in his activity."
            ),
        ]
        | None
    ) = None

    def __repr__(self) -> str:
        return "UserChange(...)"


class UserPage(Struct, frozen=True, kw_only=True):
    items: list[User]
    total: int
    total_exact: bool
    page: int
    page_size: int
    next_cursor: str | None
