"""Rejects words that docs/glossary.md replaced, and identifiers that name nothing; ``make check`` runs it.

Prose is Markdown outside code, comments, docstrings, and string literals that read like sentences.
``PHRASES`` and ``NAMES`` say how many occurrences are left; both numbers only ever fall.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[3]
FOLDERS: Final = ("dags", "plugins", "include")
"""Folders whose prose and names are checked; tests and benchmarks are checked for names only."""
DOCUMENTS: Final = ("README.md", "CONTRIBUTING.md", "docs/**/*.md")
ALLOWED_IN: Final = frozenset({"docs/glossary.md"})
"""The glossary names the words that it replaces."""


class Phrase(NamedTuple):
    """A phrase that is not used.

    :param instead: what to write.
    :param left: occurrences that are still there.
    """

    pattern: str
    instead: str
    left: int = 0


PHRASES: Final = {
    "anew": Phrase(r"\banew\b", "again"),
    "by itself": Phrase(r"\bby (?:itself|themselves)\b", "automatically"),
    "whoever": Phrase(r"\bwhoever\b", "name the person or the process"),
    "in the way": Phrase(r"\bstand(?:s|ing)? in the way\b", "name the problem"),
    "a person's word": Phrase(r"\bperson's word\b", "a person's decision"),
    "weigh": Phrase(r"\bweigh(?:s|ed|ing)?\b", "check, compare"),
    "settle": Phrase(r"\bsettl(?:e|es|ed|ing)\b", "resolve, repair"),
    "mend": Phrase(r"\bmend(?:s|ed|ing)?\b", "fix, correct"),
    "tell": Phrase(r"\b(?:told|tells?)\b(?! us\b| apart\b)", "return, report, name"),
    "forget": Phrase(r"\b(?:forget|forgets|forgot|forgetting)\b", "erase (a learner), remove, lose"),
    "doubt": Phrase(r"\bdoubts?\b|\bdoubtful\b", "unknown"),
    "stand for": Phrase(r"\bst(?:and|ands|anding|ood) for\b", "mean, have, represent"),
    "keep to": Phrase(r"\bke(?:ep|eps|pt) to\b", "follow, support"),
    "come back from a backup": Phrase(r"\bc(?:ame|omes?) back from\b", "was restored from"),
    "in trouble": Phrase(r"\btrouble\b", "failing; name the problem"),
    "as it stands": Phrase(r"\bas it stands\b", "unchanged, current"),
    "look into": Phrase(r"\blook(?:s|ed)? into\b", "check, examine"),
    "go well": Phrase(r"\b(?:goes|went) (?:well|badly)\b", "succeed, fail"),
    "hear, believe": Phrase(r"\b(?:hears?|heard|believes?|believed)\b", "receive, accept"),
    "Should it": Phrase(r"\b(?-i:Should) (?:it|the|its|this|that|there|an?)\b", "if"),
    "Never is": Phrase(r"\b(?-i:Never|Nor) (?:is|are|was|does|do|has)\b", "subject first"),
    "taken for": Phrase(r"\btaken for\b", "counts as, mistaken for"),
}
NAMES: Final = frozenset({"told", "one", "other", "said", "what", "who", "parts", "same", "mine", "theirs"})
"""Identifiers that do not name what they hold."""

CODE: Final = r"``[^`]*``|`[^`]*`|\{(?:[^{}]|\{[^{}]*\})*\}|:param \w+:|:\w+"
"""Code within prose: literals, replacement fields, and names of parameters."""

Found = tuple[str, str]
"""A place, and the word found there."""


def prose_of_markdown(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a document without code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, re.sub(r"`[^`]*`|\]\([^)]*\)", "", line)


def prose_of_python(text: str) -> Iterator[tuple[int, str]]:
    """Yield comments, docstrings and literals that read like sentences, without code in them."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT or (token.type == tokenize.STRING and " " in token.string):
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, re.sub(CODE, "", line)


def prose_of_sql(text: str) -> Iterator[tuple[int, str]]:
    """Yield comments and literals that read like sentences."""
    for number, line in enumerate(text.splitlines(), start=1):
        for part in re.findall(r"--.*|'[^']* [^']*'", line):
            yield number, re.sub(CODE, "", part)


def names_of(text: str) -> Iterator[tuple[int, str]]:
    """Yield each place at which a Python module binds a name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def find_phrases() -> Iterator[Found]:
    """Yield each phrase that is not used, with its place."""
    for path in _files():
        name = str(path.relative_to(ROOT))
        if name in ALLOWED_IN or name.startswith(("tests/", "benchmarks/")):
            continue
        read = {".md": prose_of_markdown, ".py": prose_of_python, ".sql": prose_of_sql}[path.suffix]
        for number, line in read(path.read_text(encoding="utf-8")):
            for word, phrase in PHRASES.items():
                if re.search(phrase.pattern, line, re.IGNORECASE):
                    yield f"{name}:{number}", word


def find_names() -> Iterator[Found]:
    """Yield each identifier that says nothing, with its place."""
    for path in _files():
        if path.suffix == ".py":
            for number, name in names_of(path.read_text(encoding="utf-8")):
                if name in NAMES:
                    yield f"{path.relative_to(ROOT)}:{number}", name


def _files() -> Iterator[Path]:
    for pattern in DOCUMENTS:
        yield from sorted(ROOT.glob(pattern))
    for folder in (*FOLDERS, "tests", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in {".py", ".sql"} and "migrations" not in path.parts:
                yield path


def complaints(found: Iterable[Found], allowed: dict[str, int], instead: dict[str, str]) -> list[str]:
    """Return a line for each place, of words that occur more often than is allowed."""
    places: dict[str, list[str]] = {}
    for place, word in found:
        places.setdefault(word, []).append(place)
    return [
        f"{place}: {word!r}: {instead[word]}"
        for word, where in places.items()
        if len(where) > allowed[word]
        for place in where
    ]


def main() -> int:
    """Print what is found; return 1 if there is anything."""
    lines = complaints(
        find_phrases(),
        {word: phrase.left for word, phrase in PHRASES.items()},
        {word: f"write {phrase.instead}; see docs/glossary.md" for word, phrase in PHRASES.items()},
    )
    lines += complaints(
        find_names(), dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, "name it after what it holds")
    )
    sys.stderr.writelines(f"{line}\n" for line in lines)
    return int(bool(lines))


if __name__ == "__main__":
    raise SystemExit(main())
