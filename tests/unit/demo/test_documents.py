"""The demo's certificates: real PDFs of believable sizes, and the ones that are meant to be wrong."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from demo.documents import render, render_all
from demo.nights import Expected, Training, nights
from springest.documents.opener import DocumentStore

KB, MB = 1_000, 1_000_000
WRONG = {
    Expected.DOCUMENT_MISSING,
    Expected.DOCUMENT_EMPTY,
    Expected.DOCUMENT_WRONG_TYPE,
    Expected.DOCUMENT_OUTSIDE_ROOTS,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "certificates"


@pytest.fixture(scope="module")
def trainings(folder: Path) -> Sequence[Training]:
    """Two nights with their documents."""
    rows = [
        training
        for night in nights(7, first=date(2026, 11, 2), root=str(folder))
        for training in night.trainings
    ]
    render_all(rows, folder)
    return rows


def test_every_good_document_is_a_pdf_of_15_kb_to_3_mb(trainings: Sequence[Training], folder: Path) -> None:
    """Each document of a good row is a readable PDF of 15 kB to 3 MB."""
    for training in trainings:
        if training.expected not in WRONG:
            content = Path(training.certificate_uri).read_bytes()
            assert DocumentStore.under([str(folder)]).probe(training.certificate_uri).repaired == ""
            assert 15 * KB <= len(content) <= 3 * MB


def test_most_documents_are_small_and_some_are_large(trainings: Sequence[Training]) -> None:
    """The sizes of the documents are spread as in practice."""
    sizes = [
        Path(training.certificate_uri).stat().st_size
        for training in trainings
        if training.expected not in WRONG
    ]
    assert statistics.median(sizes) < 200 * KB
    assert max(sizes) > MB
    assert sum(sizes) < 200 * MB


def test_each_bad_document_has_the_defect_of_its_kind(trainings: Sequence[Training], folder: Path) -> None:
    """Each bad document has the defect that the kind of its row names."""
    by_kind: dict[Expected, list[Path]] = {}
    for training in trainings:
        by_kind.setdefault(training.expected, []).append(Path(training.certificate_uri))
    assert not any(path.exists() for path in by_kind[Expected.DOCUMENT_MISSING])
    assert all(path.read_bytes() == b"" for path in by_kind[Expected.DOCUMENT_EMPTY])
    assert all(b"<html>" in path.read_bytes() for path in by_kind[Expected.DOCUMENT_WRONG_TYPE])
    assert all(path.suffix == ".pdf" for path in by_kind[Expected.DOCUMENT_WRONG_TYPE])
    assert not any(path.is_relative_to(folder) for path in by_kind[Expected.DOCUMENT_OUTSIDE_ROOTS])


def test_rendering_again_changes_no_document(trainings: Sequence[Training], folder: Path) -> None:
    """Rendering a second time rewrites no file."""
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    render_all(trainings, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_training_always_renders_the_same_bytes(trainings: Sequence[Training]) -> None:
    """Different trainings give different bytes, so the sandbox's documents are recognised by their hash."""
    training = trainings[0]
    assert render(training) == render(training) == Path(training.certificate_uri).read_bytes()
    assert render(replace(training, training_id="another")) != render(training)


@pytest.mark.parametrize(
    "name", ["Zoë García", "Łukasz Kowalczyk", "Nguyễn Şebnem", "Jiří Dvořák", "张伟", "O\u2019Connor"]
)
def test_any_name_can_be_printed(trainings: Sequence[Training], name: str) -> None:
    """Names with accents and from other scripts are rendered."""
    training = trainings[0]
    assert render(replace(training, learner=replace(training.learner, name=name))).startswith(b"%PDF")
