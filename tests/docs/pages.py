"""What the pages say, read so that it can be held against the tree: paths, links, commands, make targets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click

TOP = r"(?:core|plugins|tenants|jurisdictions|deploy|helm|tests|\.ci)/"
CODE = re.compile(r"`([^`\n]+)`")
FENCE = re.compile(r"^ {0,3}```(\w*)[^\n]*\n(.*?)^ {0,3}```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)\s#]+)(?:#[^)]*)?\)")
PATH = re.compile(rf"(?<![\w./-]){TOP}[\w./<>*{{}},-]*")
MADE_BY_THE_READER = re.compile(r"<!-- made by the reader: (\S+) -->")
SHELLS = {"sh", "bash", "shell", "console", "text", ""}


def list_pages(tree: Path) -> Iterator[Path]:
    """Yield the pages that people follow."""
    yield from (path for path in sorted(tree.glob("*.md")))
    yield from sorted(tree.glob("core/*.md"))
    yield from sorted(tree.glob("core/docs/**/*.md"))
    yield from sorted(tree.glob("plugins/*/*/*.md"))
    yield from sorted(tree.glob("jurisdictions/*/*.md"))
    yield from sorted(tree.glob("deploy/**/*.md"))


def find_missing_paths(tree: Path, text: str) -> Iterator[str]:
    """Yield each path of the project that the page names and that is not there.

    A path with a placeholder (``<slug>``, ``*``) is a shape, not a path; what a guide lets its reader make is
    declared by a comment ``<!-- made by the reader: plugins/games/acme -->``.
    """
    made = tuple(MADE_BY_THE_READER.findall(text))
    for found in dict.fromkeys(PATH.findall(MADE_BY_THE_READER.sub("", text))):
        path = found.rstrip(".,:")
        if any(sign in path for sign in "<>*{}") or path.startswith(made or ("\0",)):
            continue
        if not (tree / path).exists():
            yield path


def find_broken_links(page: Path, text: str) -> Iterator[str]:
    """Yield each relative link of the page that leads nowhere."""
    for target in LINK.findall(text):
        if not (page.parent / target).exists():
            yield target


def list_command_lines(text: str, program: str) -> Iterator[list[str]]:
    """Yield the words of each line that runs `program`, in fenced blocks and between backticks."""
    lines = [line for language, block in FENCE.findall(text) if language in SHELLS for line in block.splitlines()]
    lines += CODE.findall(FENCE.sub("", text))
    for line in lines:
        bare = re.sub(r"^\s*(\$ |# )?(?:[A-Z_]+=\S+ )*(\.venv/bin/)?", "", line).strip()
        if not re.match(rf"{program}(\s|$)", bare):
            continue
        try:
            words = shlex.split(bare, comments=True)
        except ValueError:
            words = bare.split()
        yield words


def find_unknown_commands(root: click.Group, text: str) -> Iterator[str]:
    """Yield each `pitboss` command of the page that the command tree does not have, or not with that option."""
    for words in list_command_lines(text, "pitboss"):
        for spelled in spell_out(words[1:]):
            reason = judge_command(root, spelled)
            if reason:
                yield f"{' '.join(words)}: {reason}"


def spell_out(words: list[str]) -> list[list[str]]:
    """Return one list of words for each alternative of the first two words: ``tenant check|plan|apply``."""
    spelled: list[list[str]] = [[]]
    for place, word in enumerate(words):
        choices = word.split("|") if place < 2 else [word]
        spelled = [[*begun, choice] for begun in spelled for choice in choices]
    return spelled


def judge_command(root: click.Group, words: list[str]) -> str:
    """Return why the words are no command, or an empty string."""
    command: click.Command = root
    context = click.Context(root, info_name="pitboss")
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        child = command.get_command(context, rest[0])
        if child is None:
            return f"no command {rest[0]}"
        command, context = child, click.Context(child, context, rest.pop(0))
    known = {name for parameter in command.get_params(context) for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        option = word.split("=")[0].strip("[]")
        if option.startswith("-") and option not in known and option not in {"-", "--"}:
            return f"no option {option}"
    return ""


def find_unknown_targets(makefile: str, text: str) -> Iterator[str]:
    """Yield each make target of the page that the Makefile does not have."""
    known = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    for words in list_command_lines(text, "make"):
        for word in words[1:]:
            if re.fullmatch(r"[a-z][a-z-]*", word) and word not in known:
                yield f"make {word}"
