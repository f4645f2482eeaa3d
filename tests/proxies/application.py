"""An application that asks nobody who calls: it tells what reaches it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Application:
    port: int
    reached: list[str] = field(default_factory=list)  # the paths that got here


@contextmanager
def running() -> Iterator[Application]:
    class Tell(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            application.reached.append(self.path)
            length = int(self.headers.get("Content-Length", 0))
            body = self.rfile.read(length)
            told: dict[str, Any] = {
                "method": self.command,
                "path": self.path,
                "headers": [[name.lower(), value] for name, value in self.headers.items()],
                "bytes": len(body),
            }
            answer = json.dumps(told).encode()
            self.send_response(500 if "broken" in self.path else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_GET  # noqa: N815 - http.server's name, as the other

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Tell) as server:
        server.daemon_threads = True
        application = Application(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield application
        server.shutdown()
        thread.join()
