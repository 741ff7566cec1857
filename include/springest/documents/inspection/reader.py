"""Open documents and report their defects; runs as a separate process (see ``inspector.py``).

This file imports nothing of the project and trusts nothing, since a document may be built to crash, hang or
exhaust its reader. Each request is a line of JSON (``size`` in bytes, ``cpu_seconds``, ``seconds``,
``memory`` in bytes) with the descriptor of a file that holds the document; each response is a line of JSON:

``type``
    the media type recognised from the content, or an empty text;
``defect``
    ``null``, or ``damaged``, ``without_pages``, ``needs_password``, ``too_complex``;
``detail``
    the description of the defect, never a library's text, which may quote the document;
``repaired``
    the defects that readers repair automatically, or an empty text.

The default action of the signals ends this process at its time limits, even within a library's C code and
after the parent has ended. Between two documents, the end of the socket ends it.
"""

from __future__ import annotations

import contextlib
import io
import json
import mmap
import os
import re
import resource
import signal
import socket
import sys
import warnings
import zipfile

if __name__ == "__main__":
    # Import only from the parent's own search path.
    sys.path[:] = json.loads(sys.argv[1])

import pikepdf
from PIL import Image, UnidentifiedImageError

Finding = dict[str, "str | None"]

OPEN_XML = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
OPEN_DOCUMENT = "application/vnd.oasis.opendocument.text"
IMAGE_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "TIFF": "image/tiff"}
_HEADER = b"%PDF-"
_HEADER_WITHIN = 1024
"""Bytes before the header that readers skip (Adobe's note 13 to PDF 1.7, annex H)."""
_END = re.compile(rb"%%EOF")
_HARMLESS = re.compile(
    "file is damaged|startxref|xref|cross-reference|stream length|endstream|endobj|extraneous whitespace"
)
"""Warnings of qpdf for a file with no missing part."""
_LOST = re.compile("Pages tree includes|not found in file|non-stream|unexpected EOF")
"""Warnings of qpdf for a missing page or a missing part of one, which it skips."""
_OBJECT = re.compile(rb"\d+ \d+ obj\b")
_LARGEST_PART = 1024 * 1024
READY = b"ready\n"
"""First message of the process, after all libraries are imported."""


def _found(media_type: str, defect: str | None = None, detail: str = "", repaired: str = "") -> Finding:
    return {"type": media_type, "defect": defect, "detail": detail, "repaired": repaired}


def read(document: mmap.mmap) -> Finding:
    """Recognise a document and open it."""
    if _HEADER in document[: _HEADER_WITHIN + len(_HEADER)]:
        return read_pdf(document)
    if document[:4] == b"PK\x03\x04":
        return read_archive(document)
    return read_image(document)


def read_pdf(document: mmap.mmap) -> Finding:
    """Open a PDF strictly; if that fails, distinguish truncated files from those that readers repair."""
    kind = "application/pdf"
    ends = list(_END.finditer(document))
    end = ends[-1].end() if ends else 0
    if not end or _OBJECT.search(document, end):
        return _found(kind, "damaged", "its end is missing: it was cut off")
    try:
        with _opened(document, attempt_recovery=False) as pdf:
            return _examined(pdf, "there are bytes before its header" if document[:5] != _HEADER else "")
    except pikepdf.PasswordError:
        return _found(kind, "needs_password", "it can't be opened without a password")
    except pikepdf.PdfError:
        pass
    with contextlib.suppress(pikepdf.PdfError), _opened(document[:end], attempt_recovery=False) as pdf:
        return _examined(pdf, "there are bytes after its end")
    if document.rfind(b"startxref") < document.rfind(b"endobj"):
        return _found(kind, "damaged", "its end is missing: it was cut off")
    try:
        with _opened(document, attempt_recovery=True) as pdf:
            return _examined(pdf, "its table of objects is wrong", harmless=_HARMLESS)
    except pikepdf.PdfError:
        return _found(kind, "damaged", "readers can't open it")


def _opened(document: mmap.mmap | bytes, *, attempt_recovery: bool) -> pikepdf.Pdf:
    return pikepdf.open(io.BytesIO(document), attempt_recovery=attempt_recovery, suppress_warnings=True)


def _examined(pdf: pikepdf.Pdf, repaired: str, *, harmless: re.Pattern[str] | None = None) -> Finding:
    """Read all pages of an open PDF.

    :param harmless: the only defects that are accepted in a document whose table of objects was rebuilt.
    """
    kind = "application/pdf"
    if not len(pdf.pages):
        return _found(kind, "without_pages", "it has no pages")
    warnings_ = [str(warning) for warning in pdf.get_warnings()]
    if harmless is not None and not all(harmless.search(warning) for warning in warnings_):
        return _found(kind, "damaged", "parts of it are missing")
    problems = warnings_ + pdf.check_pdf_syntax()
    if any(problem.startswith("ERROR") for problem in problems):
        return _found(kind, "damaged", "the content of a page can't be read")
    if any(_LOST.search(problem) for problem in problems):
        return _found(kind, "damaged", "parts of it are missing")
    return _found(kind, repaired=repaired)


def read_archive(document: mmap.mmap) -> Finding:
    """Open a text document, which is a ZIP archive with a part that names its type."""
    kind = ""
    try:
        with zipfile.ZipFile(io.BytesIO(document)) as archive:
            kind = _kind_of(archive)
            broken = archive.testzip() if kind else None
    except RuntimeError:  # raised by zipfile for an encrypted part
        return _found(kind, "needs_password", "it can't be opened without a password")
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, EOFError, KeyError):
        broken = "all of it"
    if kind and broken is not None:
        return _found(kind, "damaged", "parts of it can't be read")
    return _found(kind)


def _kind_of(archive: zipfile.ZipFile) -> str:
    """Return the type that an archive declares: ECMA-376 part 2, 10.1.2; OpenDocument 1.3 part 2, 3.3."""
    names = set(archive.namelist())
    if (
        "mimetype" in names
        and _part(archive, "mimetype") == OPEN_DOCUMENT.encode()
        and "content.xml" in names
    ):
        return OPEN_DOCUMENT
    if "[Content_Types].xml" in names and "word/document.xml" in names:
        return OPEN_XML if f"{OPEN_XML}.main+xml".encode() in _part(archive, "[Content_Types].xml") else ""
    return ""


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as part:
        return part.read(_LARGEST_PART)


def read_image(document: mmap.mmap) -> Finding:
    """Open an image and decode all of it."""
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    kind = ""
    try:
        with Image.open(io.BytesIO(document), formats=tuple(IMAGE_FORMATS)) as image:
            kind = IMAGE_FORMATS[str(image.format)]
            image.load()
    except UnidentifiedImageError:
        return _found("")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return _found(kind, "too_complex", "it has too many pixels")
    except (OSError, ValueError, SyntaxError, EOFError, TypeError, IndexError, KeyError):
        return _found(kind, "damaged", "the image can't be read to its end")
    return _found(kind)


def _limit(request: dict[str, float]) -> None:
    """Set the limits for the next document; the default action of both signals ends the process."""
    signal.setitimer(signal.ITIMER_PROF, request["cpu_seconds"])
    signal.setitimer(signal.ITIMER_REAL, request["seconds"])
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    memory = int(request["memory"])
    resource.setrlimit(
        resource.RLIMIT_AS, (memory if hard == resource.RLIM_INFINITY else min(memory, hard), hard)
    )


def _no_limit() -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(descriptor: int, request: dict[str, float]) -> Finding:
    _limit(request)
    try:
        with mmap.mmap(descriptor, int(request["size"]), access=mmap.ACCESS_READ) as document:
            return read(document)
    except (MemoryError, RecursionError):
        return _found("", "too_complex", "it takes too much memory to open")
    finally:
        _no_limit()


def main() -> None:
    """Respond to requests until the parent has ended."""
    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    with socket.socket(fileno=0) as parent:
        parent.sendall(READY)
        while True:
            line, descriptors, _, _ = socket.recv_fds(parent, 4096, 1)
            if not line:
                return
            try:
                found = _answer(descriptors[0], json.loads(line))
            finally:
                os.close(descriptors[0])
            parent.sendall(json.dumps(found).encode() + b"\n")


if __name__ == "__main__":
    main()
