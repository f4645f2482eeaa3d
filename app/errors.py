"""What can go wrong, said in the words of the contract: one public answer, one class.

`code` is what clients switch on and never changes; `title` may. Nothing here knows HTTP beyond the status that the
contract gives each code; `app.problems` turns an error into an answer (RFC 9457).
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar


class AppError(Exception):
    """An error with a public answer; `detail` is shown to the client and never holds a secret or a submitted value."""

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self,
        detail: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.headers = dict(headers or {})
        self.members = dict(members or {})


class MalformedRequest(AppError):
    status = 400
    code = "malformed_request"
    title = "The request could not be read."


class InvalidCredentials(AppError):
    """Unknown, inactive or password-less user and wrong password: one error, so that none can be told from it."""

    status = 401
    code = "invalid_credentials"
    title = "Username or password is wrong."


class MfaRequired(AppError):
    """The password was right. `mfa_token` stands for that at `/login/mfa`, with one of these `methods`."""

    status = 401
    code = "mfa_required"
    title = "A second factor is due."

    def __init__(self, mfa_token: str = "", methods: Sequence[str] = ("totp",)) -> None:
        super().__init__(members={"mfa_token": mfa_token, "methods": list(methods)})


class InvalidMfa(AppError):
    """A wrong or used code, and a sign-in that has had its tries or its time: none can be told from the answer."""

    status = 401
    code = "invalid_mfa"
    title = "The code is wrong or was used, or this sign-in has taken too long: try another code, or sign in anew."


class ClientGone(AppError):
    """Nobody reads this answer; the status is for the log (as nginx has it)."""

    status = 499
    code = "client_gone"
    title = "The client closed the connection."


class Unauthenticated(AppError):
    """A refused access token; carries the challenge of RFC 6750 §3."""

    status = 401
    challenge: ClassVar[str]

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": self.challenge})


class NotAuthenticated(Unauthenticated):
    code = "not_authenticated"
    title = "This request needs an access token."
    challenge = 'Bearer realm="gatehouse"'


class InvalidToken(Unauthenticated):
    code = "invalid_token"
    title = "The access token is invalid or has expired."
    challenge = 'Bearer realm="gatehouse", error="invalid_token", error_description="invalid or expired"'


class SessionRevoked(Unauthenticated):
    code = "session_revoked"
    title = "The session of this access token has ended."
    challenge = 'Bearer realm="gatehouse", error="invalid_token", error_description="the session has ended"'


class InvalidClient(AppError):
    """Of a service that asks about tokens: none, unknown or wrong credentials (RFC 6749 §5.2, RFC 7617 §2)."""

    status = 401
    code = "invalid_client"
    title = "The client is unknown, or its secret is wrong or missing."

    def __init__(self) -> None:
        super().__init__(headers={"WWW-Authenticate": 'Basic realm="gatehouse"'}, members={"error": self.code})


class InvalidRefreshToken(AppError):
    status = 401
    code = "invalid_refresh_token"
    title = "The refresh token is unknown or has expired."


class RefreshTokenReused(AppError):
    """An old refresh token came back: somebody holds a copy, and the session is ended (RFC 9700 §4.14.2)."""

    status = 401
    code = "refresh_token_reused"
    title = "This refresh token was used before; the session has been ended."


class InvalidOneTimeToken(InvalidToken):
    """Of a mail; never ours, used, expired, or voided by a change since: none can be told from the answer."""

    title = "This link is not valid (any more); ask for a new one."


class InvalidState(AppError):
    """A browser came back from a provider with a sign-in that did not begin there, was used, or took too long."""

    status = 400
    code = "invalid_state"
    title = "This sign-in was not begun in this browser, or has taken too long: begin it anew."


class IdentityNotAccepted(AppError):
    """What a provider said, or somebody in its name, proves nothing (OpenID Connect Core 1.0 §3.1.3.7, RFC 9207)."""

    status = 401
    code = "identity_not_accepted"
    title = "The sign-in provider's answer is not accepted."


class InvalidGrant(AppError):
    """A one-time code, or its verifier (RFC 6749 §5.2, RFC 7636 §4.6): none can be told from the answer."""

    status = 401
    code = "invalid_grant"
    title = "This code is unknown, used or too old, or the verifier is another one."


class ReauthenticationRequired(AppError):
    status = 403
    code = "reauthentication_required"
    title = "Sign in anew: this needs a login of the last ten minutes."


class Forbidden(AppError):
    status = 403
    code = "forbidden"
    title = "You are not allowed to do this."


class PasswordChangeRequired(AppError):
    status = 403
    code = "password_change_required"
    title = "The password has to be changed first."


class NotFound(AppError):
    status = 404
    code = "not_found"
    title = "There is no such resource."


class MethodNotAllowed(AppError):
    status = 405
    code = "method_not_allowed"
    title = "This method is not allowed here."


class Conflict(AppError):
    status = 409
    code = "conflict"
    title = "The request does not fit the present state."


class UsernameTaken(AppError):
    status = 409
    code = "username_taken"
    title = "This username is taken."


class EmailTaken(AppError):
    status = 409
    code = "email_taken"
    title = "This e-mail address is taken."


class LastAdmin(AppError):
    status = 409
    code = "last_admin"
    title = "The last active administrator has to stay."


class PayloadTooLarge(AppError):
    status = 413
    code = "payload_too_large"
    title = "The request body is too large."


class UnsupportedMediaType(AppError):
    status = 415
    code = "unsupported_media_type"
    title = "The content type is not supported here."


class ValidationFailed(AppError):
    """Fields out of their bounds; `errors` names each field and says what it should be, never what it was."""

    status = 422
    code = "validation_failed"
    title = "The request does not fit its description."

    def __init__(self, *errors: tuple[str, str]) -> None:
        self.errors = [{"field": field, "message": message} for field, message in errors]
        super().__init__(members={"errors": self.errors})


class WeakPassword(AppError):
    status = 422
    code = "weak_password"
    title = "The password is too weak."

    def __init__(self, message: str, field: str = "password") -> None:
        super().__init__(message, members={"errors": [{"field": field, "message": message}]})


class UseCursor(AppError):
    status = 422
    code = "use_cursor"
    title = "Pages end at 10,000 rows; go on with a cursor."


class RateLimited(AppError):
    status = 429
    code = "rate_limited"
    title = "Too many attempts; try again later."

    def __init__(self, limit: str, retry_after_seconds: int) -> None:
        super().__init__(headers={"Retry-After": str(max(1, retry_after_seconds))})
        self.limit = limit


class HeadersTooLarge(AppError):
    status = 431
    code = "headers_too_large"
    title = "The request headers are too large."


class InternalError(AppError):
    status = 500
    code = "internal_error"
    title = "Something went wrong on our side."


class Unavailable(AppError):
    """A store that is needed cannot be reached; never an answer about the credential."""

    status = 503
    code = "unavailable"
    title = "A part of the service cannot be reached at the moment."

    def __init__(self, detail: str = "", retry_after_seconds: int = 1) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class Overloaded(Unavailable):
    code = "overloaded"
    title = "Too many sign-ins at the moment."
