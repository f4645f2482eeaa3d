"""Users by the thousand: the routes of import and export."""

import zlib
from collections.abc import AsyncGenerator, Sequence

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.response import Stream
from litestar.status_codes import HTTP_200_OK

from app.client import Client
from app.errors import Overloaded, UnsupportedMediaType
from app.identity.exports import Exports
from app.identity.import_batch import Importer
from app.identity.import_lines import ExportLine, ImportLine, ReportLine
from app.identity.imports import Imports
from app.request import NDJSON, Request, media_type
from app.sessions.caller import Judge, long_answer, requires
from app.sessions.structs import ADMIN

JSONL = "application/jsonl"  # another name of NDJSON
MAX_BYTES = 128 * 1024 * 1024
MAX_LINES = 200_000  # of a request: their names and reports are some 16 MB; the command line has no bound
WRITE = [requires("users:write")]


class Report:
    """The report, kept until the body has ended: most clients read nothing before they have sent everything."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def keep(self, lines: Sequence[ReportLine]) -> None:
        self._pieces.append(zlib.compress(b"".join(msgspec.json.encode(each) + b"\n" for each in lines), 1))

    async def pieces(self) -> AsyncGenerator[bytes]:
        for piece in self._pieces:
            yield zlib.decompress(piece)


class TransferController(Controller):
    tags = ("users",)
    path = "/users"

    @post(
        "/import",
        guards=WRITE,
        status_code=HTTP_200_OK,
        media_type=NDJSON,
        request_max_body_size=MAX_BYTES,
        body={NDJSON: ImportLine, JSONL: ImportLine},
        answers={HTTP_200_OK: ReportLine},
        errors=(Overloaded,),
        summary="Import users",
    )
    async def import_users(
        self,
        request: Request,
        judge: NamedDependency[Judge],
        client: NamedDependency[Client],
        imports: NamedDependency[Imports],
    ) -> Stream:
        """NDJSON, a user a line, at most 200,000 lines and 128 MiB; the answer is a report, a line for each line.

        Who is not there is created; who is there (by username) is `updated` where the line names something else (his
        password stays), or `skipped`. No line that cannot be taken (`error`, with its `code`) is in another's way.
        An import can be run again. One that ends early (401, 403, 408, 413, 503) has done the lines that `detail` says.

        No new address counts as verified, and nothing is mailed to it. A plain `password` takes 20 ms to hash.
        The roles may allow nothing that the caller may not do, and whoever may do more than he is not changed.
        """
        if media_type(request.scope) not in (NDJSON, JSONL):
            raise UnsupportedMediaType(f"Send {NDJSON}.")

        async def importer() -> Importer:
            caller = await judge()
            return Importer(
                is_admin=ADMIN in caller.subject.roles,
                permissions=caller.permissions,
                client=client,
                user_id=caller.user_id,
                session_id=caller.session_id,
            )

        report = Report()
        await imports.run(request.stream(), importer, report.keep, most_lines=MAX_LINES)
        return Stream(report.pieces(), media_type=NDJSON)

    @get(
        "/export",
        guards=WRITE,
        media_type=NDJSON,
        answers={HTTP_200_OK: ExportLine},
        summary="Export users",
    )
    async def export_users(self, judge: NamedDependency[Judge], exports: NamedDependency[Exports]) -> Stream:
        """NDJSON, a user a line, by ascending ids; `POST /users/import` takes it as it is. Without password hashes.

        An export that breaks off has lost its database, or its caller has lost the right to it.
        """
        lines = (piece async for _, piece in exports.pieces())
        headers = {"Content-Disposition": 'attachment; filename="gatehouse-users.ndjson"'}
        return Stream(await long_answer(lines, judge), media_type=NDJSON, headers=headers)
