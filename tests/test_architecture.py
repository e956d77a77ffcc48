"""The shape of the code: who may import whom, who may import what from outside, and how large a module may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbguard
from dbguard import errors

ROOT = Path(dbguard.__file__).parent

LAYERS = """
    cli
    run doctor
    workers announce
    job roster web
    timetable told metrics notify
    guard
    upkeep lookout news
    restore_tables restore_file
    backup restore verify prune mirror placement health
    swap
    whole loading throwaway anchors
    tables_plan
    discover manifest script removal sidecar shelf restore_plan
    compose
    dumping
    counting comparison
    inventory intake copies gate ddl accounts
    obstacles connections definitions checksums
    sql catalog
    habits scope
    containers config lock
    owners reader
    sections past
    schedule encryption engines storages process checker cache create_table foreign shim
    argv command frames retention freshness sqldump stream report
    suspicion since binlog
    layout pulse feed chosen signs
    pflag docopt archive state logs ping behind
    model
    errors
"""
"""Top to bottom. A module imports only from rows below its own, and within its own package."""

OUTSIDE = {
    "click": {"cli"},
    "rich": {"cli"},
    "pydantic": {"owners", "reader", "cache", "config", "sections", "habits", "past", "workers", "cli"},
    "pydantic_settings": {"config", "sections"},
    "durationpy": {"sections", "schedule"},
    "docker": {"containers"},
    "requests": {"containers", "ping"},
    "filelock": {"lock"},
    "croniter": {"schedule"},
    "mysql": {"connections"},
    "boto3": {"storages.s3"},
    "botocore": {"storages.s3", "storages.s3_errors", "storages.s3_upload", "storages.s3_download"},
    "urllib3": {"storages.s3_errors"},
    "mypy_boto3_s3": {"storages.s3", "storages.s3_upload", "storages.s3_download"},  # types only
    "pyrage": {"encryption"},
    "apprise": {"notify"},
    "prometheus_client": {"metrics"},
    "stamina": {"job", "ping"},
    "structlog": {"logs", "run", "announce", "cli"},  # but for logs, types only
    "backports": {"stream"},
    "compression": {"stream"},  # the same as backports.zstd, from Python 3.14 on
}
"""Every library, and the modules or packages that may import it. What is not here is imported by nobody."""

MOST_LINES = 280
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "tools"}

RANK = {name: rank for rank, row in enumerate(LAYERS.strip().splitlines()) for name in row.split()}


def modules() -> dict[str, Path]:
    """Dotted names below dbguard; packages by their own name, `dbguard` itself as the empty one."""
    paths = {path.relative_to(ROOT).with_suffix(""): path for path in ROOT.rglob("*.py")}
    return {".".join(part for part in place.parts if part != "__init__"): path for place, path in paths.items()}


MODULES = modules()
ALL = pytest.mark.parametrize("module", [name for name in MODULES if name not in {"", "__main__"}])


def imported(path: Path) -> Iterator[str]:
    """Every module that is named in an import, also in a function or under TYPE_CHECKING."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            below = [f"{node.module}.{name.name}" for name in node.names]
            yield from [name if name.removeprefix("dbguard.") in MODULES else str(node.module) for name in below]


def internal(module: str) -> set[str]:
    found = {name.removeprefix("dbguard").removeprefix(".") for name in imported(MODULES[module]) if is_ours(name)}
    return found - {""}  # the version


def is_ours(name: str) -> bool:
    return name.split(".")[0] == "dbguard"


def top(module: str) -> str:
    return module.split(".")[0]


@ALL
def test_every_module_has_its_place(module: str) -> None:
    assert top(module) in RANK, "a new module: give it a row in LAYERS"


def test_every_place_is_taken() -> None:
    assert sorted(RANK) == sorted({top(name) for name in MODULES} - {"", "__main__"})


@ALL
def test_imports_point_down(module: str) -> None:
    wrong = [name for name in internal(module) if top(name) != top(module) and RANK[top(name)] <= RANK[top(module)]]
    assert not wrong, f"{module} imports {wrong}: see LAYERS"


@ALL
def test_libraries_stay_where_they_belong(module: str) -> None:
    for name in imported(MODULES[module]):
        library = top(name)
        if is_ours(name) or library in sys.stdlib_module_names - OUTSIDE.keys():
            continue
        allowed = OUTSIDE.get(library, set())
        assert {module, top(module)} & allowed, f"{module} imports {library}: allowed only in {sorted(allowed)}"


@ALL
def test_modules_stay_small(module: str) -> None:
    lines = len(MODULES[module].read_text().splitlines())
    assert lines <= MOST_LINES, "which second subject moved in?"


@ALL
def test_names_say_something(module: str) -> None:
    assert not VAGUE & set(module.split("."))


def test_a_turned_arrow_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    upward = tmp_path / "model.py"
    upward.write_text("def later():\n    from dbguard import catalog\n    from dbguard.cli.output import say\n")
    monkeypatch.setitem(MODULES, "model", upward)
    assert internal("model") == {"catalog", "cli.output"}
    with pytest.raises(AssertionError, match="see LAYERS"):
        test_imports_point_down("model")


# --- start-up ---


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["no-such-command"]])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    """Whatever the time it takes here: these libraries are why it could take long."""
    script = (
        "import sys\nfrom dbguard.__main__ import main\n"
        f"sys.argv = ['dbguard', *{arguments!r}]\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stderr.splitlines()[-1].split()}
    assert "click" in loaded, "else this test looks at the wrong output"
    assert not loaded & (OUTSIDE.keys() - {"click", "backports", "compression"})


# --- errors ---


ROOTS = {"DbguardError": "Exception", "Interrupted": "BaseException"}


def drawn() -> Iterator[tuple[str, str, str]]:
    """(name, its parent, its codes) of the tree in the docstring of errors."""
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"([├└│─ ]*)([A-Z]\w+) +((?:\d+)(?:/\d+)*)? *\S", line):
            depth = len(match[1]) // 3
            path = [*path[:depth], match[2]]
            yield match[2], path[-2] if depth else ROOTS.get(match[2], ""), match[3] or ""


TREE = [row for row in drawn() if isinstance(getattr(errors, row[0], None), type)]


def test_the_drawing_shows_every_error() -> None:
    defined = {name for name, thing in vars(errors).items() if isinstance(thing, type)}
    assert {name for name, _, _ in TREE} == defined
    assert len(TREE) > 15, "else the drawing was not understood"


@pytest.mark.parametrize(("name", "parent", "codes"), TREE)
def test_errors_are_as_drawn(name: str, parent: str, codes: str) -> None:
    error = getattr(errors, name)
    assert error.__base__.__name__ == parent
    if error is errors.Interrupted:
        assert codes == "/".join(str(error(number).exit_code) for number in (2, 15))
    else:
        assert str(error.exit_code) == (codes or str(error.__base__.exit_code))


def test_exit_codes_are_those_the_help_lists() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "dbguard", "--help"], capture_output=True, text=True, check=True
    ).stdout
    listed = set(re.findall(r"\b\d+\b", help_text.partition("Exit codes:")[2].partition("\n\n")[0]))
    used = {code for _, _, codes in TREE for code in codes.split("/") if code}
    assert used | {"0"} == listed
