"""What can be said about the shape of the tree by reading it: each function returns findings as sentences."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.import_contracts import FILES, NOT_ROOMS

REVISION = re.compile(r"pitboss/migrations/\w+/versions/")
"""Revisions are written once, by a tool, and never read as code of the house."""
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 70
TOP_LEVEL = set(
    "core plugins tenants jurisdictions deploy helm tests pyproject.toml README.md Makefile requirements.lock "
    "requirements-dev.lock CONTRIBUTING.md CHANGELOG.md SECURITY.md LICENSE .pre-commit-config.yaml .ci .gitignore "
    ".editorconfig sgconfig.yml".split()
)
LOCAL = set(
    ".git .venv .venv.lock .pitboss build uv.lock dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache "
    "node_modules __pycache__".split()
)
SHAPELESS = re.compile(r"^_?(utils?|helpers?|common|misc|managers?|base|stuff)$")
FOREIGN = re.compile(
    "|".join(
        ["/wo" + "rk/", "/ro" + "ot/", r"/ho" + r"me/\w", "py" + r"pi\.org", "python" + "hosted", "registry.npm" + "js"]
    )
)
TABLE_IN_SQL = re.compile(r"\b(?:from|join|into|update|truncate(?:\s+table)?)\s+(?:only\s+)?(\w+)", re.IGNORECASE)


def list_files(tree: Path, *suffixes: str) -> Iterator[Path]:
    """Yield the files of the project, not what tools left beside them."""
    for path in sorted(tree.rglob("*")):
        parts = path.relative_to(tree).parts
        if path.is_file() and not LOCAL.intersection(parts) and (not suffixes or path.suffix in suffixes):
            yield path


def list_rooms(tree: Path) -> Iterator[Path]:
    """Yield the folders of rooms."""
    for path in sorted((tree / "core/app/pitboss").iterdir()):
        if path.is_dir() and path.name not in NOT_ROOMS | LOCAL:
            yield path


def find_top_level(tree: Path) -> Iterator[str]:
    """The top level is fixed."""
    for path in tree.iterdir():
        if path.name not in TOP_LEVEL | LOCAL:
            yield f"{path.name}: not one of the names at the top level"


def find_strange_room_files(tree: Path) -> Iterator[str]:
    """A room has the same files as every room; a file that outgrew its limit is a folder of the same name."""
    for room in list_rooms(tree):
        for path in sorted(room.iterdir()):
            if path.name in LOCAL or path.name in {"__init__.py", "sql"}:
                continue
            name = path.stem if path.suffix == ".py" else path.name
            if name not in FILES or (path.is_file() and path.suffix != ".py"):
                yield f"{path.relative_to(tree)}: a room holds {', '.join(sorted(FILES))} and sql/"


def find_shapeless_names(tree: Path) -> Iterator[str]:
    """A name says what is inside."""
    for path in list_files(tree, ".py"):
        parts = path.relative_to(tree).with_suffix("").parts
        if parts[0] in {"core", "plugins", "jurisdictions"} and any(SHAPELESS.match(part) for part in parts):
            yield f"{path.relative_to(tree)}: the name says nothing"


def find_missing_packages(tree: Path) -> Iterator[str]:
    """Import rules do not see folders without __init__.py; the two levels of a namespace have none."""
    for start in ("core/app/pitboss", "core/sdk/pitboss_sdk"):
        for folder in {path.parent for path in list_files(tree / start, ".py")}:
            if not (folder / "__init__.py").is_file() and not REVISION.search(f"{folder.as_posix()}/"):
                yield f"{folder.relative_to(tree)}: no __init__.py"
    levels = (
        "plugins/*/*/pitboss_plugins",
        "plugins/*/*/pitboss_plugins/*",
        "jurisdictions/*/pitboss_jurisdictions",
    )
    for namespace in [path for level in levels for path in tree.glob(level)]:
        if (namespace / "__init__.py").exists():
            yield f"{namespace.relative_to(tree)}: a level of the namespace has an __init__.py"


def find_long_files(tree: Path) -> Iterator[str]:
    """Files stay short, but for a list that may only shrink."""
    known = load_exceptions(tree)["files"]
    measured = {
        path.relative_to(tree).as_posix(): len(path.read_text().splitlines())
        for path in list_files(tree, ".py", ".sql")
        if not REVISION.search(path.as_posix())
    }
    yield from judge_lengths(measured, known, MAX_FILE_LINES)


def find_long_functions(tree: Path) -> Iterator[str]:
    """Functions stay short, but for a list that may only shrink."""
    known = load_exceptions(tree)["functions"]
    measured: dict[str, int] = {}
    for path in list_files(tree, ".py"):
        if REVISION.search(path.as_posix()):
            continue
        for name, length in measure_functions(ast.parse(path.read_text())):
            key = f"{path.relative_to(tree).as_posix()}::{name}"
            measured[key] = max(length, measured.get(key, 0))  # one name may be defined twice
    yield from judge_lengths(measured, known, MAX_FUNCTION_LINES)


def measure_functions(within: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield the qualified name of each function, and its lines."""
    for node in ast.iter_child_nodes(within):
        named = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, (node.end_lineno or node.lineno) - node.lineno + 1
        yield from measure_functions(node, f"{prefix}{node.name}." if named else prefix)


def judge_lengths(measured: dict[str, int], known: dict[str, int], allowed_lines: int) -> Iterator[str]:
    """Yield what is too long, and what is on the list without need."""
    for name, lines in measured.items():
        if lines > known.get(name, allowed_lines):
            yield f"{name}: {lines} lines, {known.get(name, allowed_lines)} are allowed"
    for name, lines in known.items():
        if measured.get(name, 0) <= allowed_lines:
            yield f"{name}: on the list of exceptions ({lines}) without need"


def load_exceptions(tree: Path) -> dict[str, dict[str, int]]:
    """Return the lists of what is longer than allowed."""
    return tomllib.loads((tree / "tests/architecture/exceptions.toml").read_text())


def find_foreign_tables(tree: Path) -> Iterator[str]:
    """No room's SQL names a table of another room, and no two rooms declare one name."""
    owners: dict[str, str] = {}
    for room in list_rooms(tree):
        for name in declared_tables(room):
            if owners.get(name, room.name) != room.name:
                yield f"{room.name}: table {name} is declared by {owners[name]}"
            owners[name] = room.name
    for room in list_rooms(tree):
        if room.name == "relocation":  # it carries a tenant whole, out of the tables of every room (decision 0028)
            continue
        for path, sql in list_sql(room):
            for name in TABLE_IN_SQL.findall(sql):
                owner = owners.get(name.lower(), room.name)
                if owner != room.name:
                    yield f"{path.relative_to(tree)}: names {name}, a table of room {owner}"


def declared_tables(room: Path) -> Iterator[str]:
    """Yield the names of a room's tables, as its tables file declares them."""
    for path in [*room.glob("tables.py"), *room.glob("tables/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
                continue
            if any(isinstance(target, ast.Name) and target.id == "__tablename__" for target in node.targets):
                yield str(node.value.value)


def list_sql(room: Path) -> Iterator[tuple[Path, str]]:
    """Yield the SQL texts of a room: its .sql files, and the string literals of its store."""
    for path in list_files(room, ".sql"):
        yield path, re.sub(r"--[^\n]*", "", path.read_text())
    for path in [*room.glob("store.py"), *room.glob("store/*.py")]:
        tree = ast.parse(path.read_text())
        prose = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                yield path, node.value


def find_traces_of_a_machine(tree: Path) -> Iterator[str]:
    """The project names no path of a machine and no host of a registry."""
    for path in list_files(tree):
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if FOREIGN.search(line):
                yield f"{path.relative_to(tree)}:{number}: {line.strip()[:100]}"


def find_use_cases_without_scope(tree: Path) -> Iterator[str]:
    """A use case that gets a session is told whose data it is; the control plane and a cell's registers are not."""
    for room in list_rooms(tree):
        if room.name in {"tenancy", "directory", "relocation"}:
            continue
        for path in [*room.glob("service.py"), *room.glob("service/*.py")]:
            for node in ast.parse(path.read_text()).body:
                if not isinstance(node, ast.AsyncFunctionDef) or node.name.startswith("_") or "control" in node.name:
                    continue
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                types = {ast.unparse(argument.annotation) for argument in arguments if argument.annotation}
                takes_rows = any(re.search(r"\b(AsyncSession|AsyncConnection|Connection)\b", each) for each in types)
                told_whose = any("TenantScope" in each for each in types) or any(
                    argument.arg == "tenant_ids" for argument in arguments
                )
                if takes_rows and not told_whose:
                    yield f"{path.relative_to(tree)}::{node.name}: takes a session but no TenantScope"
