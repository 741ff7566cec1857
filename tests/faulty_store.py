"""An object store in memory that fails on request; tests use it instead of S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import fsspec
import pytest
from airflow.sdk.io import fs as airflow_fs
from fsspec.implementations.memory import MemoryFileSystem


class ClientError(Exception):
    """As botocore's: no OSError, with the answer inside."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"An error occurred ({code}) when calling the GetObject operation: secret-name.pdf")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class HttpResponseError(Exception):
    """As azure-core's."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__("secret-name.pdf")
        self.error_code, self.status_code = code, status


class GoogleError(Exception):
    """As gcsfs's HttpError and google-api-core's."""

    def __init__(self, status: int) -> None:
        super().__init__("secret-name.pdf")
        self.code = status


class NoCredentialsError(Exception):
    """As botocore's."""


class FaultyFileSystem(MemoryFileSystem):  # type: ignore[misc]
    """Files by ``bucket/key``; each may fail for its own sake, or all may."""

    protocol = "s3"
    root_marker = ""
    cachable = False
    files: ClassVar[dict[str, bytes]] = {}
    faults: ClassVar[dict[str, Exception]] = {}
    opened: ClassVar[list[str]] = []
    for_all: ClassVar[list[Exception]] = []

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        return str(path).removeprefix("s3://").rstrip("/")

    def info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        """Return the size, or fail."""
        name = self._strip_protocol(path)
        self.opened.append(name)
        if self.for_all:
            raise self.for_all[0]
        if name in self.faults:
            raise self.faults[name]
        if name not in self.files:
            raise FileNotFoundError(name)
        return {"name": name, "size": len(self.files[name]), "type": "file"}

    def exists(self, path: str, **kwargs: Any) -> bool:
        """Tell whether a bucket has anything."""
        name = self._strip_protocol(path)
        return any(file.startswith(f"{name}/") for file in self.files)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        import io

        self.info(path)
        return io.BytesIO(self.files[self._strip_protocol(path)])


@contextmanager
def faulty_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyFileSystem]]:
    """Put an empty store in the place of S3, for fsspec and for Airflow."""
    for name, empty in (("files", {}), ("faults", {}), ("opened", []), ("for_all", [])):
        monkeypatch.setattr(FaultyFileSystem, name, empty)
    known = fsspec.registry.get("s3")
    fsspec.register_implementation("s3", FaultyFileSystem, clobber=True)
    schemes = {**airflow_fs._BUILTIN_SCHEME_TO_FS, "s3": lambda conn_id, options: FaultyFileSystem()}
    monkeypatch.setattr(airflow_fs, "_register_filesystems", lambda: schemes)
    yield FaultyFileSystem
    if known is not None:
        fsspec.register_implementation("s3", known, clobber=True)
