"""`/openapi.json`, and Swagger UI at `/docs` out of the package that carries it: nothing is loaded from elsewhere."""

from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from app.documentation.document import document_of
from app.errors import NotFound
from app.settings import Settings

KEEP = {"Cache-Control": "public, max-age=3600"}  # an hour: a new release may bring other files
PAGE_HEADERS = {
    **KEEP,
    # Swagger UI holds its icons as data; what it loads, and what is tried out on it, is ours
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

PAGE = b"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Gatehouse API</title>
<link rel="icon" type="image/png" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/index.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/init.js"></script>
</body>
</html>
"""
# Without a URL of a validator Swagger UI would send the document's address to one on the Internet.
INIT = b"""\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "list",
  validatorUrl: null,
});
"""
FILES = {
    "favicon-32x32.png": "image/png",
    "index.css": "text/css",
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
}


def documentation_handlers(settings: Settings) -> list[HTTPRouteHandler]:
    """The routes of the documentation; none with API_DOCS=off."""
    return [read_document, read_page, read_file] if settings.api_docs else []


@get("/openapi.json", exclude_from_auth=True, include_in_schema=False, sync_to_thread=False)
def read_document(request: Request[Any, Any, Any]) -> Response[bytes]:
    state = request.app.state
    if "api_document" not in state:
        state.api_document = document_of(request.app)
    return Response(state.api_document, media_type=MediaType.JSON, headers=KEEP)


@get("/docs", exclude_from_auth=True, include_in_schema=False, sync_to_thread=False)
def read_page() -> Response[bytes]:
    return Response(PAGE, media_type=MediaType.HTML, headers=PAGE_HEADERS)


@get("/docs/{name:str}", exclude_from_auth=True, include_in_schema=False, sync_to_thread=True)
def read_file(name: FromPath[str]) -> Response[bytes]:
    """A file of the page."""
    if name == "init.js":
        return Response(INIT, media_type="text/javascript", headers=KEEP)
    if name not in FILES:
        raise NotFound
    return Response((static() / name).read_bytes(), media_type=FILES[name], headers=KEEP)


def static() -> Path:
    """Where the package keeps its files. It is not imported: it would bring a template engine along."""
    return Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))
