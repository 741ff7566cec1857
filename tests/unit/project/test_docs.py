"""Every command that the documentation names is one that exists, with the options that it is given."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox.__main__ import parse as parse_sandbox
from sandbox.server import SandboxServer
from springest_provider.cli.arguments import read
from springest_provider.get_provider_info import _FIELDS

ROOT = Path(__file__).parents[3]
DOCS = sorted({ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")})
TEXTS = [
    path
    for folder in ("include", "plugins", "dags")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in {".py", ".sql"}
]
FENCE = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:bin/springest|make) [^`]+)`(?!`)")
PLACEHOLDERS = {"ID": "1", "N": "1", "MOMENT": "2026-11-02T00:00:00+00:00"}


def _commands(path: Path) -> Iterator[list[str]]:
    text = path.read_text(encoding="utf-8")
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words:
                yield words


def _inline(path: Path) -> Iterator[list[str]]:
    for command in INLINE.findall(path.read_text(encoding="utf-8")):
        yield [PLACEHOLDERS.get(word, word) for word in shlex.split(command)]


def _targets() -> set[str]:
    [names] = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return set(names.split())


def _check(words: list[str]) -> None:
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    program, *arguments = words
    if program in {"bin/springest", "springest"}:
        read(arguments)
    elif program == "pip":
        files = {words[at + 1] for at, word in enumerate(words) if word == "-r"}
        assert arguments[0] == "install"
        assert all((ROOT / name).is_file() for name in files)
    elif words in (["uv", "build"], ["export", "AIRFLOW__CORE__DAGS_FOLDER=$PWD/dags"]):
        pass  # tests/component/project/test_wheel.py builds; the setting is Airflow's
    elif program == "make":
        _check_make(arguments)
    elif program == ".springest/venv/bin/python":
        assert arguments[:2] == ["-m", "pytest"]
        assert (ROOT / arguments[2]).exists()
    elif program == "psql":
        assert (ROOT / arguments[arguments.index("-f") + 1]).exists()
    else:
        assert program == "curl", f"no test knows {program}"  # run by the next test


def _check_make(arguments: list[str]) -> None:
    settings = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    targets = {argument for argument in arguments if "=" not in argument}
    assert targets <= _targets()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert all(f"$({name})" in makefile or f"$(if $({name})" in makefile for name in settings)
    if "ARGS" in settings and settings["ARGS"] != "--help":
        parse_sandbox(shlex.split(settings["ARGS"]))


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_a_block_of_commands_is_understood_as_written(path):
    """By the real parsers; what Python or the shell would refuse is refused here."""
    for words in _commands(path):
        try:
            _check(words)
        except SystemExit as refused:
            pytest.fail(f"{path.name}: {shlex.join(words)}: {refused}")


@pytest.mark.parametrize("path", [*DOCS, *TEXTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_command_in_a_sentence_exists(path, capsys):
    """In docs, error texts and remedies: it may leave out what the reader must fill in."""
    for words in _inline(path):
        try:
            _check(words)
        except SystemExit:
            assert " required" in capsys.readouterr().err, f"{path.name}: {shlex.join(words)}"


def test_every_extra_of_the_connection_is_described():
    """The form lists them, but a connection written as JSON has only the docs to go by."""
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    section = text.partition("## The connection to Springest\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(_FIELDS)


def test_texts_name_the_command_by_its_path():
    """`bin/springest` works in a checkout and in the image, so a reader can type every remedy."""
    assert "COPY --chown=airflow:root bin/ bin/" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    bare = re.compile(r"(?<!`)`springest [a-z]")
    assert [path for path in TEXTS if bare.search(path.read_text(encoding="utf-8"))] == []


def test_the_requests_to_the_sandbox_work_as_written():
    """The curl commands of docs/operations.md, one after the other, against a real one."""
    done = [words for path in DOCS for words in _commands(path) if words[0] == "curl"]
    assert done
    curl = argparse.ArgumentParser()
    curl.add_argument("-X", dest="method")
    curl.add_argument("-H", dest="header", default="accept: */*")
    curl.add_argument("-d", dest="content")
    curl.add_argument("url")
    with SandboxServer() as sandbox:
        for words in done:
            asked = curl.parse_args(words[1:])
            url = asked.url.replace("http://127.0.0.1:8765", sandbox.url)
            headers = [tuple(asked.header.split(": "))]
            response = httpx.request(asked.method, url, content=asked.content, headers=headers)
            assert response.is_success, f"{shlex.join(words)}: {response.text}"
