"""Only documents under a root are opened, and only the hashed bytes are sent."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from demo.pdf import make_pdf
from springest.documents import local_file
from springest.documents.address import Address
from springest.documents.inspection.inspector import Inspection, Inspector
from springest.documents.opener import (
    CHUNK,
    SENT_FROM_MEMORY,
    DocumentError,
    DocumentStore,
    DocumentUnreachable,
    Root,
)
from springest.documents.settings import ALL_CHECKS
from springest.errors import ConfigurationError
from springest.redaction import Redactor

PDF = make_pdf()
LARGE = make_pdf(filling=os.urandom(SENT_FROM_MEMORY + CHUNK // 2))


def saved(document: pikepdf.Pdf, **settings: Any) -> bytes:
    target = io.BytesIO()
    document.save(target, **settings)
    return target.getvalue()


def pdf_without_pages() -> bytes:
    return saved(pikepdf.Pdf.new())


def pdf_with_password() -> bytes:
    return saved(pikepdf.open(io.BytesIO(PDF)), encryption=pikepdf.Encryption(user="u", owner="o"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    folder.mkdir()
    return folder


@pytest.fixture(params=["where it says", "behind links"])
def store(root: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> DocumentStore:
    """Files are opened in one of two ways, which must behave the same."""
    if request.param == "behind links":
        monkeypatch.setattr(local_file, "_NAMING", None)
    return DocumentStore.under([str(root)])


def refusal(store: DocumentStore, uri: object) -> str:
    """Return why a document is refused; looking at it and opening it must agree."""
    with pytest.raises(DocumentError) as looked:
        store.probe(str(uri))
    with pytest.raises(DocumentError) as opened, store.open(str(uri)):
        pass
    assert looked.value.reason == opened.value.reason
    assert str(uri) not in f"{looked.value} {looked.value.detail}"
    return looked.value.reason


def test_a_document_is_opened_with_its_name_type_size_and_hash(store: DocumentStore, root: Path) -> None:
    """An opened document has its name, type, size and SHA-256."""
    (root / "Zoë 1.pdf").write_bytes(PDF)
    with store.open(f"{root}/Zoë 1.pdf") as document:
        assert (document.filename, document.content_type) == ("Zoë 1.pdf", "application/pdf")
        assert (document.size, document.sha256) == (len(PDF), hashlib.sha256(PDF).hexdigest())
        assert b"".join(document.chunks()) == PDF
        assert "Zoë" not in repr(document)


@pytest.mark.parametrize("form", ["{}/Zo%C3%AB%201.pdf", "file://{}/Zo%C3%AB%201.pdf", "{}/Zoë 1.pdf"])
def test_a_file_uri_is_decoded_and_a_path_is_literal(store: DocumentStore, root: Path, form: str) -> None:
    """Percent signs are decoded in a `file:` URI, and literal in a plain path."""
    (root / "Zoë 1.pdf").write_bytes(PDF)
    uri = form.format(root)
    if uri.startswith("/") and "%" in uri:
        assert refusal(store, uri) == "document_missing"
    else:
        store.probe(uri)


def test_a_large_document_is_streamed_more_than_once(store: DocumentStore, root: Path) -> None:
    """A large document is streamed, a second time as well."""
    (root / "large.pdf").write_bytes(LARGE)
    with store.open(f"{root}/large.pdf") as document:
        assert document.content is None
        assert b"".join(document.chunks()) == b"".join(document.chunks()) == LARGE


@pytest.mark.parametrize(
    "uri",
    [
        "/etc/hostname",
        "file:///etc/hostname",
        "s3://bucket{root}/T1.pdf",
        "https://example.com{root}/T1.pdf",
        "{root}",
        "{root}/",
        "{root}-other/T1.pdf",
        "/{root}/T1.pdf",
    ],
)
def test_a_uri_outside_the_roots_is_refused(store: DocumentStore, root: Path, uri: str) -> None:
    """A document outside the roots is refused, whether or not it exists."""
    (root.parent / "secret.pdf").write_bytes(PDF)
    (root / "T1.pdf").write_bytes(PDF)
    assert refusal(store, uri.format(root=root)) == "document_outside_roots"


@pytest.mark.parametrize(
    "uri",
    [
        "T1.pdf",
        "certificates/T1.pdf",
        "file://elsewhere.example.com{root}/T1.pdf",
        "file://user@{root}/T1.pdf",
        "file://{root}/T1.pdf?version=1",
        "file://{root}/T1.pdf#page=2",
        "http://[half/T1.pdf",
        "{root}/../secret.pdf",
        "{root}/a/../../secret.pdf",
        "file://{root}/../secret.pdf",
        "file://{root}/%2e%2e/secret.pdf",
        "file://{root}/%2E./secret.pdf",
        "local://{root}/.\t./secret.pdf",
        "local://{root}/.\n./secret.pdf",
        "LOCAL://{root}/..\r/secret.pdf",
        "file://{root}/.%09./secret.pdf",
        "file://{root}/T1.pdf%00.png",
        "{root}/T1.pdf\0",
        " {root}/T1.pdf",
        "\x01{root}/T1.pdf",
        "{root}/T1.pdf\x85",
        "C:\\certificates\\T1.pdf",
        "s3://user@/T1.pdf?x",
        "s3://bucket/./T1.pdf",
        "s3://bucket//T1.pdf",
        "s3://bucket/a/..\\T1.pdf",
        "s3://bucket?x/T1.pdf",
    ],
)
def test_an_address_that_could_be_read_in_two_ways_is_refused(
    store: DocumentStore, root: Path, uri: str
) -> None:
    """The standard library drops tabs and line ends from a URL, and other libraries drop other things."""
    (root.parent / "secret.pdf").write_bytes(PDF)
    (root / "T1.pdf").write_bytes(PDF)
    assert refusal(store, uri.format(root=root)) == "certificate_uri_malformed"


@pytest.mark.parametrize("form", ["local://{}/T1.pdf", "LOCAL://{}/T1.pdf", "File://localhost{}/T1.pdf"])
def test_every_spelling_of_a_local_uri_is_opened(store: DocumentStore, root: Path, form: str) -> None:
    """All spellings of a local URI lead to the file."""
    (root / "T1.pdf").write_bytes(PDF)
    store.probe(form.format(root))
    (root / "T1.pdf").unlink()
    (root.parent / "secret.pdf").write_bytes(PDF)
    (root / "T1.pdf").symlink_to("../secret.pdf")
    assert refusal(store, form.format(root)) == "document_outside_roots"


DOTS = ("..", ".", "...", "%2e", "%2E%2e", "%252e", "\N{ONE DOT LEADER}", "\N{TWO DOT LEADER}")
SEPARATORS = ("/", "//", "%2f", "%5c", "\\", "?", "#", "@", ":", "\t", "\n", "\r", "\0", "\x0b", "\x85")
NAMES = (
    "a",
    "b",
    "inside",
    "outside",
    "T1.pdf",
    "secret.pdf",
    "link",
    "root-other",
    "file:",
    "s3:",
    "localhost",
)
PIECES = st.lists(st.sampled_from(DOTS + SEPARATORS + NAMES))
FORMS = st.sampled_from(["{}/", "file://{}/", "local://{}/", "LOCAL://{}", "file:{}/"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with one document, beside folders with others that nobody may read."""
    base = tmp_path_factory.mktemp("guarded")
    for name in ("root", "root/a", "root/inside", "root-other", "outside"):
        (base / name).mkdir()
    for name in ("root/T1.pdf", "root/a/T1.pdf", "root/inside/T1.pdf"):
        (base / name).write_bytes(make_pdf("inside"))
    for name in ("secret.pdf", "T1.pdf", "root-other/T1.pdf", "outside/secret.pdf", "outside/T1.pdf"):
        (base / name).write_bytes(make_pdf("outside"))
    (base / "root/link").symlink_to(base / "outside")
    (base / "root/b").symlink_to("../outside/secret.pdf")
    return base


@given(
    form=st.sampled_from(["{}/", "file://{}/", "local://{}/", "LOCAL://{}", "file:{}/"]),
    pieces=PIECES,
)
def test_no_uri_opens_a_file_outside_the_root(guarded: Path, form: str, pieces: list[str]) -> None:
    """No generated URI opens anything outside the root."""
    store = DocumentStore.under([str(guarded / "root")])
    with suppress(DocumentError), store.open(form.format(guarded / "root") + "".join(pieces)) as document:
        assert b"inside" in (document.content or b"")


HERE = Path(__file__).parent


@given(uri=st.text(alphabet=st.characters(codec=None)) | st.from_regex(rf"(file://)?{HERE}/.*"))
def test_every_bad_uri_raises_a_document_error(uri: str) -> None:
    """No generated URI raises anything else: one bad row must never stop the others."""
    with pytest.raises(DocumentError):
        DocumentStore.under([str(HERE)]).probe(uri)


@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_out_of_the_root_is_refused(store: DocumentStore, root: Path, absolute: bool) -> None:
    """A symlink that leads out of the root is refused."""
    (root.parent / "secret.pdf").write_bytes(PDF)
    (root / "link.pdf").symlink_to(root.parent / "secret.pdf" if absolute else "../secret.pdf")
    (root / "folder").symlink_to(root.parent)
    assert refusal(store, root / "link.pdf") == "document_outside_roots"
    assert refusal(store, root / "folder" / "secret.pdf") == "document_outside_roots"


def test_links_inside_a_root_and_linked_roots_are_followed(root: Path) -> None:
    """A symlink within the root is followed, and the root itself may be one."""
    (root / "2026").mkdir()
    (root / "2026" / "T1.pdf").write_bytes(PDF)
    (root / "latest.pdf").symlink_to("2026/T1.pdf")
    linked = root.with_name("linked")
    linked.symlink_to(root)
    DocumentStore.under([str(linked)]).probe(f"{linked}/latest.pdf")


def socket_at(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("document_missing", lambda path: None),
        ("document_missing", lambda path: path.symlink_to("nowhere.pdf")),
        ("document_missing", lambda path: path.symlink_to(path.name)),
        ("document_not_a_file", Path.mkdir),
        ("document_not_a_file", os.mkfifo),
        ("document_not_a_file", socket_at),
        ("document_empty", Path.touch),
        ("document_wrong_type", lambda path: path.write_bytes(b"<!DOCTYPE html><html></html>")),
        ("document_wrong_type", lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40))),
        ("document_wrong_type", lambda path: path.write_bytes(b"\0")),
        ("document_wrong_type", lambda path: path.write_bytes(b"of no known kind at all")),
    ],
    ids=["missing", "dangling", "loop", "folder", "fifo", "socket", "empty", "html", "png", "nul", "text"],
)
def test_each_unusable_file_has_its_own_reason(
    store: DocumentStore,
    root: Path,
    reason: str,
    make: Callable[[Path], object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Opening any of them neither hangs nor counts as a failure of the store."""
    monkeypatch.chdir(root)  # a socket's address must be short
    make(Path("T1.pdf"))
    assert refusal(store, root / "T1.pdf") == reason


@pytest.mark.parametrize("name", ["\ud800.pdf", "x" * 300 + ".pdf", "T1.pdf/page"])
def test_a_name_that_no_file_can_have_is_a_missing_document(
    store: DocumentStore, root: Path, name: str
) -> None:
    """A name that the file system cannot hold is a missing document."""
    (root / "T1.pdf").write_bytes(PDF)
    with pytest.raises(DocumentError) as caught:
        store.probe(f"{root}/{name}")
    assert caught.value.reason == "document_missing"


def test_a_document_over_the_size_limit_is_refused(root: Path) -> None:
    """A document over the size limit is refused, one of exactly that size is not."""
    (root / "T1.pdf").write_bytes(PDF)
    DocumentStore.under([str(root)], largest=len(PDF)).probe(f"{root}/T1.pdf")
    assert (
        refusal(DocumentStore.under([str(root)], largest=len(PDF) - 1), root / "T1.pdf")
        == "document_too_large"
    )


def test_another_type_is_sent_where_the_site_accepts_it(root: Path) -> None:
    """Types other than PDF are accepted if the site's setting names them."""
    Image.new("RGB", (8, 8)).save(root / "T1.png")
    store = DocumentStore.under([str(root)], accepted_types=("application/pdf", "image/png"))
    with store.open(f"{root}/T1.png") as document:
        assert document.content_type == "image/png"


@pytest.mark.parametrize(
    ("content", "check", "reason"),
    [
        (PDF[:200], "whole", "document_damaged"),
        (b"%PDF-", "whole", "document_damaged"),
        (pdf_without_pages(), "pages", "document_without_pages"),
        (pdf_with_password(), "no_password", "document_needs_password"),
    ],
    ids=["cut off", "header", "no pages", "password"],
)
def test_each_check_can_be_switched_off(root: Path, content: bytes, check: str, reason: str) -> None:
    """Each check of an opener can be switched off."""
    (root / "T1.pdf").write_bytes(content)
    assert refusal(DocumentStore.under([str(root)]), root / "T1.pdf") == reason
    remaining = tuple(name for name in ALL_CHECKS if name != check)
    DocumentStore.under([str(root)], checks=remaining).probe(f"{root}/T1.pdf")


def test_a_large_document_is_inspected_as_well(root: Path) -> None:
    """A document that is too large to be kept in memory is inspected as well."""
    (root / "T1.pdf").write_bytes(LARGE[: len(LARGE) - 300])
    assert refusal(DocumentStore.under([str(root)]), root / "T1.pdf") == "document_damaged"


@pytest.mark.parametrize("content", [PDF, LARGE], ids=["small", "large"])
def test_known_bytes_are_not_inspected_again(root: Path, content: bytes) -> None:
    """A document whose hash is known as inspected is not inspected again."""

    class Counting(Inspector):
        asked = 0

        def inspect(self, document: BinaryIO, size: int) -> Inspection:
            self.asked += 1
            return super().inspect(document, size)

    inspector = Counting()
    store = DocumentStore.under([str(root)], inspector=inspector)
    path = root / "T1.pdf"
    path.write_bytes(content)
    checked = store.probe(str(path)).checked
    with store.open(str(path), checked) as document:
        assert (document.content_type, b"".join(document.chunks())) == ("application/pdf", content)
    assert inspector.asked == 1
    path.write_bytes(content + b"%")
    with store.open(str(path), checked) as document:
        assert document.checked != checked
    assert inspector.asked == 2
    stricter = DocumentStore.under([str(root)], accepted_types=("image/png",), inspector=inspector)
    with pytest.raises(DocumentError, match="not image/png"):
        stricter.open(str(path), document.checked)
    inspector.close()


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(bytes(3 * CHUNK))


@pytest.mark.parametrize(
    "change",
    [
        lambda path: os.truncate(path, len(LARGE) - 1),
        lambda path: os.truncate(path, 0),
        append,
        lambda path: path.write_bytes(LARGE[:-1] + b"!"),
        lambda path: path.write_bytes(b"!" + LARGE[1:]),
    ],
    ids=["shorter", "emptied", "longer", "last byte", "first byte"],
)
def test_a_document_changed_while_sending_ends_the_body_early(
    store: DocumentStore, root: Path, change: Callable[[Path], object]
) -> None:
    """Fewer bytes are sent than the body announced, so that no server can store it."""
    path = root / "large.pdf"
    path.write_bytes(LARGE)
    given_away = 0
    with store.open(str(path)) as document:
        change(path)
        with pytest.raises(DocumentError) as caught:  # noqa: PT012 - counts until it raises
            for chunk in document.chunks():
                given_away += len(chunk)
    assert caught.value.reason == "document_changed"
    assert given_away < len(LARGE)


@pytest.mark.parametrize("content", [PDF, LARGE], ids=["small", "large"])
def test_a_replaced_file_is_sent_as_it_was_hashed(store: DocumentStore, root: Path, content: bytes) -> None:
    """Most programs replace a file; the open one stays as it was."""
    path = root / "T1.pdf"
    path.write_bytes(content)
    with store.open(str(path)) as document:
        (root / "new.pdf").write_bytes(PDF + b"new")
        (root / "new.pdf").replace(path)
        assert b"".join(document.chunks()) == content
        assert document.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"%PDF-other")])
def test_a_small_document_is_sent_as_it_was_hashed(
    store: DocumentStore, root: Path, change: Callable[[Path], object]
) -> None:
    """A small document is sent as it was hashed, whatever happens to its file."""
    (root / "T1.pdf").write_bytes(PDF)
    with store.open(f"{root}/T1.pdf") as document:
        change(root / "T1.pdf")
        assert b"".join(document.chunks()) == PDF


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors as Linux tells them")
def test_no_descriptor_stays_open(store: DocumentStore, root: Path) -> None:
    """For every kind of document."""
    (root / "T1.pdf").write_bytes(PDF)
    (root / "large.pdf").write_bytes(LARGE)
    (root / "empty.pdf").touch()
    (root / "text.pdf").write_bytes(b"of no known kind at all")
    (root / "folder.pdf").mkdir()
    os.mkfifo(root / "fifo.pdf")
    (root / "out.pdf").symlink_to("/etc/hostname")
    (root / "link.pdf").symlink_to("T1.pdf")
    before = descriptors()
    for name in ("empty", "text", "folder", "fifo", "out", "missing"):
        refusal(store, root / f"{name}.pdf")
    for name in ("T1", "large", "link"):
        store.probe(f"{root}/{name}.pdf")
        with store.open(f"{root}/{name}.pdf"):
            assert descriptors() == before + (name == "large")
    assert descriptors() == before


needs_linux = pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="only Linux says where a file lies")


@needs_linux
def test_a_link_swapped_in_while_opening_is_not_followed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a file is replaced by a symlink while it is opened, the file that was checked is opened."""
    path, secret = root / "T1.pdf", root.parent / "secret.pdf"
    path.write_bytes(PDF)
    secret.write_bytes(PDF + b"secret")
    real_readlink = os.readlink

    def readlink(name: str) -> str:
        real = real_readlink(name)
        path.unlink()
        path.symlink_to(secret)
        return real

    monkeypatch.setattr(os, "readlink", readlink)
    with DocumentStore.under([str(root)]).open(str(path)) as document:
        assert document.content == PDF


@needs_linux
@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        (lambda path, secret: None, "document_missing"),
        (lambda path, secret: path.symlink_to(secret), "document_outside_roots"),
        (lambda path, secret: path.mkdir(), "document_not_a_file"),
    ],
    ids=["nothing", "a link", "a folder"],
)
def test_a_file_replaced_before_the_check_is_its_replacement(
    root: Path, monkeypatch: pytest.MonkeyPatch, becomes: Callable[[Path, Path], None], reason: str
) -> None:
    """If a file is replaced before it was checked, its replacement is checked and opened."""
    path, secret = root / "T1.pdf", root.parent / "secret.pdf"
    path.write_bytes(PDF)
    secret.write_bytes(PDF)
    real_readlink = os.readlink

    def readlink(name: str) -> str:
        monkeypatch.setattr(os, "readlink", real_readlink)
        path.unlink()
        becomes(path, secret)
        return real_readlink(name)

    monkeypatch.setattr(os, "readlink", readlink)
    with pytest.raises(DocumentError) as caught:
        DocumentStore.under([str(root)]).open(str(path))
    assert caught.value.reason == reason
    assert os.readlink is real_readlink


@pytest.mark.parametrize(
    "root",
    [
        "/",
        "relative",
        "",
        "file:///",
        "local:///",
        "/data/../etc",
        "file:///data/%2e%2e",
        "s3",
        "s3:",
        "s3://",
        "s3:///prefix",
        "//",
        "s3://[x",
        "C:\\certificates",
        "c:/certificates",
        "http://example.com/certificates",
        "memory://bucket",
        "/data/certi\tficates",
    ],
)
def test_an_invalid_root_is_refused_with_the_remedy(root: str) -> None:
    """A root that is not usable is refused, and the error names the remedy."""
    with pytest.raises(ConfigurationError, match="springest_document_roots"):
        Root.parse(root)


def test_a_store_without_roots_is_refused() -> None:
    """A store without any root is refused."""
    with pytest.raises(ConfigurationError, match="springest_document_roots is empty"):
        DocumentStore.under([])


@pytest.mark.parametrize(
    ("uri", "held"),
    [
        ("s3://bucket/prefix/T1.pdf", True),
        ("s3://bucket/prefix/2026/T1.pdf", True),
        ("s3://bucket/prefix-other/T1.pdf", False),
        ("s3://other/prefix/T1.pdf", False),
        ("gs://bucket/prefix/T1.pdf", False),
    ],
)
def test_a_buckets_prefix_holds_only_its_own_keys(uri: str, held: bool) -> None:
    """A bucket's prefix as a root allows only keys below it."""
    located = Root.parse("s3://bucket/prefix").locate(Address.parse(uri))
    assert (located is not None) is held


def test_a_whole_bucket_may_be_a_root() -> None:
    """A bucket without a prefix can be a root."""
    assert Root.parse("s3://bucket").locate(Address.parse("s3://bucket/T1.pdf"))


@pytest.mark.parametrize(
    ("root", "uri", "located"),
    [
        ("s3://aws@bucket", "s3://bucket/T1.pdf", "s3://aws@bucket/T1.pdf"),
        ("s3://aws@bucket", "s3://aws@bucket/T1.pdf", "s3://aws@bucket/T1.pdf"),
        ("s3://aws@bucket", "s3://other@bucket/T1.pdf", None),
        ("s3://bucket", "s3://aws@bucket/T1.pdf", None),
    ],
)
def test_the_root_alone_names_the_connection(root, uri, located):
    """The source database need not know Airflow's connections."""
    found = Root.parse(root).locate(Address.parse(uri))
    assert (str(found) if found else None) == located


@pytest.mark.parametrize(
    ("root", "shown"),
    [
        ("s3://aws@bucket/issued", "s3://bucket/issued (connection aws)"),
        ("https://lms@files.example.com/issued", "https://files.example.com/issued (connection lms)"),
        ("s3://bucket/issued", "s3://bucket/issued"),
        ("/data/certificates", "/data/certificates"),
    ],
)
def test_redaction_leaves_a_root_as_it_is_shown(root, shown):
    """`aws@bucket` looks like an e-mail address, and an engineer has to see which bucket is meant."""
    assert Redactor().redact(Root.parse(root).shown) == shown


class Broken(io.BytesIO):
    """A handle whose connection is gone."""

    def read(self, size: int | None = -1) -> bytes:
        raise TimeoutError("no answer")


def remote(answer: Callable[[], tuple[BinaryIO, int]]) -> DocumentStore:
    return DocumentStore.under(["s3://bucket"], open_remote=lambda address, root: answer())


def test_a_remote_document_is_opened_checked_and_closed() -> None:
    """A document of a bucket is opened, checked and closed."""
    handle = io.BytesIO(PDF)
    with remote(lambda: (handle, len(PDF))).open("s3://bucket/T1.pdf") as document:
        assert (document.filename, document.content) == ("T1.pdf", PDF)
    assert handle.closed


def fails(error: Exception) -> Callable[[], tuple[BinaryIO, int]]:
    def answer() -> tuple[BinaryIO, int]:
        raise error

    return answer


def test_a_remote_document_that_is_not_there_is_missing() -> None:
    """A key that does not exist is a missing document."""
    assert (
        refusal(remote(fails(FileNotFoundError("bucket/T1.pdf"))), "s3://bucket/T1.pdf") == "document_missing"
    )


@pytest.mark.parametrize("answer", [fails(TimeoutError("T1.pdf")), lambda: (Broken(PDF), len(PDF))])
def test_an_unreachable_store_is_not_blamed_on_documents(answer: Callable[[], tuple[BinaryIO, int]]) -> None:
    """A store that does not respond says nothing about its documents."""
    with pytest.raises(DocumentUnreachable) as looked:
        remote(answer).probe("s3://bucket/T1.pdf")
    with pytest.raises(DocumentUnreachable), remote(answer).open("s3://bucket/T1.pdf"):
        pass
    assert "T1.pdf" not in str(looked.value)


class Dripping(io.BytesIO):
    """A handle that gives a few bytes at a time, as a network may."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size) if size is not None and size >= 0 else 3)


@pytest.mark.parametrize("short", [0, 1])
def test_a_document_read_in_small_pieces_is_whole(short: int) -> None:
    """A store may return fewer bytes than requested; a document shorter than announced is noticed."""
    store = remote(lambda: (Dripping(PDF[: len(PDF) - short]), len(PDF)))
    if short:
        with pytest.raises(DocumentError) as caught:
            store.open("s3://bucket/T1.pdf")
        assert caught.value.reason == "document_changed"
    else:
        with store.open("s3://bucket/T1.pdf") as document:
            assert document.content == PDF


@pytest.mark.parametrize("size", [len(PDF) - 1, len(PDF) + 1])
def test_a_wrong_size_from_the_store_is_noticed(size: int) -> None:
    """A size that the store announces and the content contradicts is noticed."""
    with (
        pytest.raises(DocumentError) as caught,
        remote(lambda: (io.BytesIO(PDF), size)).open("s3://bucket/T1.pdf"),
    ):
        pass
    assert caught.value.reason == "document_changed"


def test_an_error_of_the_sender_is_not_the_stores(store: DocumentStore, root: Path) -> None:
    """An error that is raised while the document is open is not taken for a failure of its store."""
    (root / "T1.pdf").write_bytes(PDF)
    with pytest.raises(ConnectionResetError), store.open(f"{root}/T1.pdf"):
        raise ConnectionResetError


def test_remote_documents_without_an_opener_are_misconfigured() -> None:
    """A remote URI without an opener for its store is an error in the settings."""
    with pytest.raises(ConfigurationError):
        DocumentStore.under(["s3://bucket"]).probe("s3://bucket/T1.pdf")


def test_a_document_error_survives_pickling() -> None:
    """Airflow hands exceptions from process to process."""
    again = pickle.loads(pickle.dumps(DocumentError("document_empty", "render it again")))  # noqa: S301
    assert (again.reason, again.detail) == ("document_empty", "render it again")


def test_an_unmounted_root_is_not_blamed_on_documents(tmp_path: Path) -> None:
    """Otherwise one missing mount would set every row aside."""
    store = DocumentStore.under([str(tmp_path / "unmounted")])
    with pytest.raises(DocumentUnreachable, match="mounted"):
        store.probe(str(tmp_path / "unmounted" / "a.pdf"))


@needs_linux
def test_a_folder_swapped_for_a_link_leads_nowhere(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that becomes a symlink while a file is opened is not followed: a file elsewhere is closed
    unread.
    """
    outside, inside = tmp_path / "outside", root / "inside"
    for folder in (outside, inside):
        folder.mkdir()
        (folder / "one.pdf").write_bytes(b"%PDF-1.7\n")
    real = local_file._real
    monkeypatch.setattr(local_file, "_open_where_it_says", lambda _: None)

    def swap(path: PurePosixPath) -> Path:
        found = real(path)
        if path == PurePosixPath(root):
            inside.rename(root / "moved")
            inside.symlink_to(outside)
        return found

    monkeypatch.setattr(local_file, "_real", swap)
    before = descriptors()
    with pytest.raises(DocumentError, match="link that leads out"):
        DocumentStore.under([str(root)]).open(str(inside / "one.pdf"))
    assert descriptors() == before
