"""The smallest PDF that every reader opens, for tests and benchmarks."""

from __future__ import annotations


def make_pdf(text: str = "", *, size: int = 0, filling: bytes = b"") -> bytes:
    """Return a PDF with one page (ISO 32000-1, 7.5).

    :param text: text of a comment, so that documents differ.
    :param size: minimum size in bytes.
    :param filling: bytes of an object that no page shows, such as an unused image.
    """
    if size:
        filling = bytes(max(0, size - len(make_pdf(text, filling=b"0"))))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 842 595]/Resources<<>>/Contents 4 0 R>>",
        b"<</Length 0>>stream\n\nendstream",
    ]
    if filling:
        objects.append(b"<</Length %d>>stream\n%b\nendstream" % (len(filling), filling))
    body = b"%PDF-1.7\n%" + text.encode().replace(b"\n", b" ") + b"\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj" % number + content + b"endobj\n"
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    count = len(objects) + 1
    return (
        body
        + b"xref\n0 %d\n0000000000 65535 f \n" % count
        + table
        + b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (count, len(body))
    )
