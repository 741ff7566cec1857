"""Renders the demo's certificates: real PDFs of 15 kB to 3 MB, some of them defective."""

from __future__ import annotations

import io
import random
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from fpdf import FPDF
from PIL import Image

from demo.nights import CERTIFICATIONS, Expected, Training

INSTITUTE: Final = "Meridian Training Institute"
_TEXTURES: Final = {190: 20, 260: 20, 370: 30, 450: 15, 620: 10, 1050: 4, 2600: 1}
"""Size of the paper's texture in pixels, and its frequency: documents have 15 kB to 3 MB, most are small."""
_NAMES: Final = {certification.id: certification.name for certification in CERTIFICATIONS}
_BARE: Final = {"\u0142": "l", "\u0141": "L", "\u0111": "d", "\u0110": "D", "\u0131": "i", "\u2019": "'"}
"""Letters outside Latin-1 that are not a letter with an accent."""
_INK: Final = (32, 44, 84)
_GOLD: Final = (178, 138, 62)


def render_all(trainings: Iterable[Training], folder: Path) -> None:
    """Write the documents of these trainings, good and bad."""
    folder.mkdir(parents=True, exist_ok=True)
    for training in trainings:
        path = Path(training.certificate_uri)
        if path.parent != folder or training.expected is Expected.DOCUMENT_MISSING or path.exists():
            continue
        path.write_bytes(_content(training))


def _content(training: Training) -> bytes:
    if training.expected is Expected.DOCUMENT_EMPTY:
        return b""
    if training.expected is Expected.DOCUMENT_WRONG_TYPE:
        return b"<!DOCTYPE html><html><body><h1>Your session has expired</h1></body></html>"
    return render(training)


def render(training: Training) -> bytes:
    """Render one certificate; the same training gives the same bytes."""
    pdf = FPDF(orientation="landscape", format="A4")
    pdf.set_creation_date(training.completed_at)
    pdf.set_title("Certificate")
    pdf.set_author(INSTITUTE)
    pdf.add_page()
    pdf.set_auto_page_break(auto=False)
    chance = random.Random(training.training_id)  # noqa: S311 - nothing secret
    pdf.image(
        io.BytesIO(_texture(chance.choices(list(_TEXTURES), weights=list(_TEXTURES.values()))[0])),
        x=0,
        y=0,
        w=297,
        h=210,
    )
    _frame(pdf)
    name = _NAMES.get(training.certification_id, "Training")
    _line(pdf, 38, INSTITUTE.upper(), size=15, color=_GOLD)
    _line(pdf, 56, "Certificate of Completion", size=36, color=_INK, style="B")
    _line(pdf, 82, "This is to certify that", size=14)
    _line(pdf, 96, training.learner.name, size=28, color=_INK, style="BI")
    _line(pdf, 118, "has completed the training", size=14)
    _line(pdf, 130, name, size=22, color=_INK, style="B")
    until = f" until {training.valid_until:%d %B %Y}" if training.valid_until else ", without end"
    _line(pdf, 152, f"Valid from {training.valid_from:%d %B %Y}{until}", size=12)
    _line(pdf, 176, f"Number {training.training_id}", size=10)
    return bytes(pdf.output())


def _frame(pdf: FPDF) -> None:
    for inset, width, color in ((10, 1.4, _GOLD), (13, 0.4, _INK)):
        pdf.set_draw_color(*color)
        pdf.set_line_width(width)
        pdf.rect(inset, inset, 297 - 2 * inset, 210 - 2 * inset)


def _line(
    pdf: FPDF, y: float, text: str, *, size: int, color: tuple[int, int, int] = (60, 60, 60), style: str = ""
) -> None:
    pdf.set_font("Times", style, size)
    pdf.set_text_color(*color)
    pdf.set_xy(15, y)
    pdf.cell(267, 12, _latin(text), align="C")


def _latin(text: str) -> str:
    """Return the text in Latin-1, as the built-in fonts require; other letters lose their accents."""
    return "".join(_letter(_BARE.get(letter, letter)) for letter in unicodedata.normalize("NFC", text))


def _letter(letter: str) -> str:
    try:
        letter.encode("latin-1")
    except UnicodeEncodeError:
        return unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"
    return letter


@cache
def _texture(side: int) -> bytes:
    """Return the grain of the paper as a JPEG."""
    grain = random.Random(side)  # noqa: S311 - nothing secret
    pixels = bytes(226 + (byte >> 4) for byte in grain.randbytes(side * side * 3))
    buffer = io.BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(buffer, "JPEG", quality=97)
    return buffer.getvalue()
