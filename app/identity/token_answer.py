"""A token response on its way out: its refresh token in the body, or in the browser's cookie."""

import msgspec
from litestar import Response
from litestar.status_codes import HTTP_200_OK

from app.express import Answered
from app.identity.structs import TokenResponse
from app.request import JSON
from app.sessions.cookie import RefreshCookie


class TokenAnswer:
    """With a cookie the refresh token is in no body."""

    def __init__(self, response: TokenResponse, cookie: RefreshCookie | None) -> None:
        self._body = response
        self._set_cookie: str | None = None
        if cookie is not None:
            self._set_cookie = cookie.holding(str(response.refresh_token), response.refresh_expires_in)
            self._body = msgspec.structs.replace(response, refresh_token=msgspec.UNSET)

    def express(self) -> Answered:
        """For the short way."""
        headers = [(b"content-type", JSON.encode())]
        if self._set_cookie is not None:
            headers.append((b"set-cookie", self._set_cookie.encode()))
        return headers, msgspec.json.encode(self._body)

    def response(self) -> Response[TokenResponse]:
        """For Litestar's."""
        headers = None if self._set_cookie is None else {"Set-Cookie": self._set_cookie}
        return Response(self._body, headers=headers, media_type=JSON, status_code=HTTP_200_OK)
