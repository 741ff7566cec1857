"""An S3 server on loopback (moto's) that fails on request as Amazon's does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

BODY: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>secret-name</Message></Error>'
)


@dataclass
class S3Server:
    """The server and what it was asked for.

    :param fault: (code, status) to respond with while it is set; a HEAD gets the status alone.
    :param requests: method and path of each request.
    :param before: called with each request's method, before it is answered.
    """

    application: Any
    port: int = 0
    fault: tuple[str, int] | None = None
    times: int | None = None
    requests: list[tuple[str, str]] = field(default_factory=list)
    before: Callable[[str], None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def client(self) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )

    def fail(self, code: str, status: int, times: int | None = None) -> None:
        """Answer with an error, for ever or for a number of requests."""
        self.fault, self.times = (code, status), times

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.requests.append((method, environ["PATH_INFO"]))
        if self.before is not None:
            self.before(method)
        if self.fault is None or self.times == 0:
            found: Iterable[bytes] = self.application(environ, start_response)
            return found
        if self.times is not None:
            self.times -= 1
        code, status = self.fault
        body = BODY.format(code=code).encode()
        start_response(
            f"{status} Error", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
        )
        return [] if method == "HEAD" else [body]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """Run an empty S3 server."""
    app = S3Server(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    app.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
