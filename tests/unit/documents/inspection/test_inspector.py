"""Documents that pass open in a reader, and no document can block the worker."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pikepdf
import psutil
import pytest
from PIL import Image

from demo.pdf import make_pdf
from springest.documents.inspection.inspector import MEGABYTE, Inspection, Inspector, Limits, scratch_file
from springest.errors import InspectionFailed

PROJECT = Path(__file__).parents[4]
PDF = make_pdf("Zoë")
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
ODT = "application/vnd.oasis.opendocument.text"


@pytest.fixture(scope="module")
def inspector() -> Iterator[Inspector]:
    inspector = Inspector()
    yield inspector
    inspector.close()


def inspect(inspector: Inspector, content: bytes) -> Inspection:
    with scratch_file() as file:
        file.write(content)
        file.flush()
        return inspector.inspect(file, len(content))


def pdf(pages: int = 1, **saved: object) -> bytes:
    """A PDF as a library writes it."""
    target = io.BytesIO()
    with pikepdf.Pdf.new() as document:
        for number in range(pages):
            page = document.add_blank_page()
            page.contents_add(b"%% page %d" % number + b" " * 2000)
        document.save(target, **saved)
    return target.getvalue()


FORMS = {
    "small": PDF,
    "of a library": pdf(3),
    "with object streams": pdf(3, object_stream_mode=pikepdf.ObjectStreamMode.generate),
    "linearised": pdf(3, linearize=True),
    "with a large image": make_pdf(filling=os.urandom(100_000)),
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_a_whole_pdf_is_accepted(inspector: Inspector, content: bytes) -> None:
    """A complete PDF passes the inspection."""
    assert inspect(inspector, content) == Inspection("application/pdf")


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.75, 0.9, 0.97])
@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_a_truncated_pdf_is_damaged(inspector: Inspector, content: bytes, share: float) -> None:
    """A PDF cut off at any point is refused as damaged."""
    found = inspect(inspector, content[: int(len(content) * share)])
    assert (found.type, found.defect) == ("application/pdf", "damaged")


@pytest.mark.parametrize(
    ("content", "defect"),
    [
        (b"%PDF-", "damaged"),
        (b"%PDF-1.7\n" + bytes(10_000), "damaged"),
        (b"%PDF-1.7\n%%EOF\n", "damaged"),
        (b"%PDF-1.7\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n", "damaged"),
        (pdf(3)[:300] + bytes(400) + pdf(3)[700:], "damaged"),
        (pdf(0), "without_pages"),
        (pdf(encryption=pikepdf.Encryption(user="u", owner="o")), "needs_password"),
        (
            pdf(encryption=pikepdf.Encryption(user="u", owner="o", R=4, aes=False, metadata=False)),
            "needs_password",
        ),
        (PDF + b"\n9 0 obj\n<</Type/Catalog", "damaged"),
    ],
    ids=[
        "header",
        "zeros",
        "no objects",
        "no pages tree",
        "a hole",
        "no pages",
        "password",
        "old password",
        "half an update",
    ],
)
def test_a_pdf_that_no_reader_can_show_is_refused(inspector: Inspector, content: bytes, defect: str) -> None:
    """Files that no PDF reader can show are refused with their reason."""
    found = inspect(inspector, content)
    assert (found.type, found.defect) == ("application/pdf", defect)
    assert found.detail


def test_a_page_that_cannot_be_decompressed_is_refused(inspector: Inspector) -> None:
    """A PDF with a damaged content stream is refused."""
    with pikepdf.Pdf.new() as document:
        page = document.add_blank_page()
        page.Contents = document.make_stream(b"BT (Zoe) Tj ET" * 200)
        target = io.BytesIO()
        document.save(target, compress_streams=True)
    content = target.getvalue()
    place = content.index(b"stream\n") + len(b"stream\n")
    broken = content[:place] + b"\0\1\2\3" + content[place + 4 :]
    assert inspect(inspector, broken).defect == "damaged"


def test_an_owner_password_is_accepted(inspector: Inspector) -> None:
    """A password that only restricts printing or copying is not needed to open the file."""
    protected = pdf(encryption=pikepdf.Encryption(user="", owner="secret"))
    assert inspect(inspector, protected) == Inspection("application/pdf")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n" + PDF, "before its header"),
        (PDF + b"<!-- a proxy's banner -->" * 200, "after its end"),
        (pdf(3, linearize=True) + bytes(5000), "after its end"),
        (PDF.replace(b"startxref\n", b"startxref\n1"), "table of objects"),
    ],
    ids=["before", "behind", "behind a linearised one", "wrong table"],
)
def test_a_repairable_pdf_is_accepted_and_reported(inspector: Inspector, content: bytes, word: str) -> None:
    """A defect that readers repair is accepted, and the result names it."""
    found = inspect(inspector, content)
    assert (found.type, found.defect) == ("application/pdf", None)
    assert word in found.repaired


def image(form: str) -> bytes:
    target = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(target, form)
    return target.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_an_image_is_decoded_to_its_end(inspector: Inspector, form: str) -> None:
    """A truncated image is not accepted although its header is intact."""
    content = image(form)
    assert inspect(inspector, content) == Inspection(f"image/{form.lower()}")
    cut = inspect(inspector, content[: len(content) * 3 // 4])
    assert cut.defect == "damaged" or cut.type == ""


def archive(members: dict[str, bytes | str]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return target.getvalue()


WORD = archive(
    {"[Content_Types].xml": f'<Override ContentType="{DOCX}.main+xml"/>', "word/document.xml": "<w/>"}
)
SHEET = archive(
    {"[Content_Types].xml": "<Override ContentType='…sheet.main+xml'/>", "xl/workbook.xml": "<x/>"}
)


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (WORD, DOCX),
        (archive({"mimetype": ODT, "content.xml": "<x/>"}), ODT),
        (SHEET, ""),
        (archive({"mimetype": "application/vnd.oasis.opendocument.spreadsheet", "content.xml": "<x/>"}), ""),
        (archive({"word/document.xml": "<w/>"}), ""),
        (archive({"notes.txt": "any archive"}), ""),
        (b"PK\x03\x04" + bytes(200), ""),
        (b"<!DOCTYPE html><html></html>", ""),
        (b"\0", ""),
    ],
    ids=["docx", "odt", "xlsx", "ods", "no types", "zip", "no zip", "html", "nul"],
)
def test_each_type_is_recognised_by_its_content(
    inspector: Inspector, content: bytes, media_type: str
) -> None:
    """The content decides the type, not the name."""
    assert inspect(inspector, content).type == media_type


def test_an_archive_with_a_damaged_member_is_refused(inspector: Inspector) -> None:
    """Every member of an archive is read in full."""
    content = WORD.replace(b"<w/>", b"<v/>", 1)
    assert inspect(inspector, content) == Inspection(DOCX, "damaged", "parts of it can't be read")


def bomb(size: int) -> bytes:
    """A PDF whose only page unpacks to ``size`` bytes, packed twice."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    # A block after a full flush depends on nothing before it: one is packed, and repeated.
    block = packer.compress(bytes(MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = (size % 65521 << 16 | 1).to_bytes(4, "big")  # Adler-32 of zeros
    packed = b"\x78\x9c" + block * (size // MEGABYTE) + packer.flush() + checksum
    filters = pikepdf.Array([pikepdf.Name.FlateDecode, pikepdf.Name.FlateDecode])
    target = io.BytesIO()
    with pikepdf.Pdf.new() as document:
        page = document.add_blank_page()
        page.Contents = document.make_stream(zlib.compress(packed), Filter=filters)
        document.save(target, compress_streams=False)  # otherwise it is unpacked and packed here
    return target.getvalue()


def test_a_document_that_takes_too_long_is_refused() -> None:
    """A document that exceeds the time limit is refused, and the next one is inspected."""
    inspector = Inspector(Limits(cpu_seconds=0.3))
    try:
        found = inspect(inspector, bomb(1024 * MEGABYTE))
        assert found.defect == "too_complex"
        assert "0.3 seconds" in found.detail
        assert inspect(inspector, PDF) == Inspection("application/pdf")
    finally:
        inspector.close()


def test_a_document_that_takes_too_much_memory_is_refused() -> None:
    """A document that exceeds the memory limit is refused."""
    inspector = Inspector(Limits(memory=200 * MEGABYTE))
    try:
        large = io.BytesIO()
        Image.new("RGB", (9_000, 9_000)).save(large, "PNG")
        assert inspect(inspector, large.getvalue()).defect in {"too_complex", "damaged"}
        assert inspect(inspector, PDF) == Inspection("application/pdf")
    finally:
        inspector.close()


def process_of(inspector: Inspector) -> psutil.Process:
    assert inspector._process is not None
    return psutil.Process(inspector._process.pid)


def test_one_process_inspects_all_and_is_replaced_if_killed() -> None:
    """One process inspects all documents; if it was killed, another replaces it."""
    inspector = Inspector()
    try:
        inspect(inspector, PDF)
        first = process_of(inspector)
        inspect(inspector, pdf(3))
        assert process_of(inspector) == first
        first.kill()
        assert inspect(inspector, PDF) == Inspection("application/pdf")
        assert process_of(inspector) != first
    finally:
        inspector.close()


def test_outside_kills_are_not_blamed_on_the_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that something else kills again and again is no reason to refuse the document."""
    inspector = Inspector()
    start = inspector._start

    def killed() -> object:
        channel = start()
        process_of(inspector).kill()
        return channel

    monkeypatch.setattr(inspector, "_start", killed)
    with pytest.raises(InspectionFailed, match="from outside"):
        inspect(inspector, PDF)


def test_a_busy_machine_is_not_blamed_on_the_document() -> None:
    """A document is not refused for a time limit that passed while the process got no CPU."""
    inspector = Inspector(Limits(cpu_seconds=60.0, seconds=0.01))
    try:
        with pytest.raises(InspectionFailed, match="within"):
            inspect(inspector, bomb(2048 * MEGABYTE))
    finally:
        inspector.close()


def test_the_process_holds_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inspecting process has no secret in its environment."""
    monkeypatch.setenv("AIRFLOW_CONN_SPRINGEST_DEFAULT", "canary")
    inspector = Inspector()
    try:
        inspect(inspector, PDF)
        assert "canary" not in str(process_of(inspector).environ())
    finally:
        inspector.close()


def test_nothing_is_imported_from_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module in the working folder cannot replace one of the inspector's."""
    (tmp_path / "zipfile.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend("")
    inspector = Inspector()
    try:
        assert inspect(inspector, PDF) == Inspection("application/pdf")
    finally:
        inspector.close()


def test_a_forked_process_has_its_own_inspector() -> None:
    """A forked process starts its own inspector instead of sharing the parent's."""
    inspector = Inspector()
    try:
        inspect(inspector, PDF)
        pid = os.fork()
        if pid == 0:
            fit = False
            try:
                fit = inspect(inspector, PDF) == Inspection("application/pdf")
                inspector.close()
            finally:
                os._exit(0 if fit else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert inspect(inspector, PDF) == Inspection("application/pdf")
    finally:
        inspector.close()


ORPHANS = """
import sys
from demo.pdf import make_pdf
from springest.documents.inspection.inspector import SHARED, scratch_file
content = make_pdf()
with scratch_file() as file:
    file.write(content)
    file.flush()
    SHARED.inspect(file, len(content))
    print(SHARED._process.pid, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    "end", [lambda parent: parent.stdin.close(), lambda parent: parent.kill()], ids=["ends", "killed"]
)
def test_the_process_ends_with_its_parent(end: Callable[[subprocess.Popen[bytes]], None]) -> None:
    """The inspecting process ends when its parent is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", ORPHANS],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(PROJECT / "include")},
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        end(parent)
        parent.wait()
        psutil.wait_procs([child], timeout=60)
    assert not child.is_running()
