"""``springest rotate-secret``: re-key the warehouse for a new learner secret; see docs/operations.md."""

from __future__ import annotations

import argparse

from springest.privacy.rotation import rotate_secret
from springest_provider import factories
from springest_provider.cli.output import Exit, Output


def rotate(options: argparse.Namespace, output: Output) -> int:
    """Rotate; a warehouse that already has the new secret is not changed."""
    pseudonyms = factories.pseudonyms()
    output.hide(pseudonyms.secrets)
    with factories.warehouse(options.warehouse) as engine:
        report = rotate_secret(engine, pseudonyms)
    if not report.rows:
        output.line("the warehouse already has this learner secret: nothing was changed")
        return Exit.DONE
    rows = ", ".join(f"{name} {number}" for name, number in report.rows.items())
    output.line(f"re-keyed; rows: {rows}")
    output.line(
        "Keep the former secret in the Variable: references are made with all of them. It reveals nothing "
        "without the new one. Only the former secret protects backups and exports from before."
    )
    return Exit.DONE
