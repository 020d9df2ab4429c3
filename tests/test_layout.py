"""The house's layout: who may import whom, what is pure, and that every module has its tests.

docs/design.md shows the picture. Each checker takes a module's source text and its dotted name and gives the
violations it finds, so that the tests can show first that it does find them.
"""

import ast
from collections.abc import Iterable
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parent.parent

MAY_IMPORT = {
    "rowcast": {"rowcast"},
    "boms": {"boms"},
    "workers": {"rowcast", "boms", "workers"},
    "devstack": {"devstack"},
    "service": {"service", "boms"},
    "service.cli": {"service", "workers", "devstack"},
}
"""Which of our packages each package, or a module of it, may import."""
PACKAGES = frozenset(name for name in MAY_IMPORT if "." not in name)

ARROW = ("changes", "events", "feeds", "streams")
"""The folders of service/: each may import those to its left."""
FOLDERS = frozenset({*ARROW, "access", "schema"})
SEE_ALL = frozenset({"app", "pipeline", "cli", "doctor", "server", "http1", "health", "mode", "doctor_direct"})
"""The modules of service/ that put all together, or serve it; nothing but each other imports them."""

PURE = frozenset({
    "boms", "rowcast.pipeline", "service.access.limits", "service.access.operators", "service.access.tokens",
    "service.changes.change", "service.changes.sequence", "service.errors", "service.events", "service.feeds.batch",
    "service.feeds.cursor", "service.feeds.delivery", "service.feeds.outbox", "service.feeds.ring", "service.proxies",
    "service.redaction", "service.schema.asyncapi", "service.schema.catalogue", "service.schema.examples",
    "service.schema.files", "service.schema.openapi", "service.schema.reference", "service.schema.routes",
    "service.schema.typescript", "service.schema.words", "service.streams.frames", "service.changes.differ",
    "service.adoption", "service.findings", "service.tables",
})  # fmt: skip
"""Modules, and a folder of them, without clock, randomness, network or event loop: those come in as arguments."""
IMPURE = frozenset({
    "aiohttp", "asyncio", "concurrent", "http", "httpx", "httpx_sse", "hypercorn", "logging", "multiprocessing", "os",
    "pathlib", "postgrest", "psycopg", "quart", "random", "realtime", "secrets", "select", "shutil", "signal", "socket",
    "ssl", "subprocess", "supabase", "tempfile", "threading", "time", "urllib.request", "uuid", "websockets",
    "werkzeug",
})  # fmt: skip

UNTESTED = frozenset({"__init__", "__main__"})


def is_in(name: str, places: Iterable[str]) -> bool:
    """Whether a dotted name is one of the places or lies in one."""
    return any(name == place or name.startswith(f"{place}.") for place in places)


def imports(source: str, module: str) -> set[str]:
    """What a module imports, anywhere in it; ``from a import b`` gives a.b, since b may be a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom():
                above = module.split(".")[: -node.level] if node.level else []
                base = [*above, *([node.module] if node.module else [])]
                names |= {".".join([*base, alias.name]) for alias in node.names}
            case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                names |= {each.value for each in node.args[:1] if isinstance(each, ast.Constant)}
    return names


def foreign(source: str, module: str) -> set[str]:
    """What a module imports of our packages that its own must not know."""
    allowed = MAY_IMPORT.get(module) or MAY_IMPORT[module.split(".", maxsplit=1)[0]]
    return {name for name in imports(source, module) if is_in(name, PACKAGES) and not is_in(name, allowed)}


def against_the_arrow(source: str, module: str) -> set[str]:
    """What a module of service/ imports that lies behind it."""
    here = module.split(".")[1]
    if here in SEE_ALL:
        return set()
    if here == "access":
        beside = ["service.access", "service.errors", "service.logs", "service.tables"]
        return {name for name in imports(source, module) if is_in(name, ["service"]) and not is_in(name, beside)}
    seen = set(ARROW[: ARROW.index(here) + 1]) if here in ARROW else set()
    if here == "streams":
        seen.add("access")
    if here == "schema":
        seen = {*ARROW, "schema"}
    hidden = [f"service.{name}" for name in (FOLDERS | SEE_ALL) - seen]
    return {name for name in imports(source, module) if is_in(name, hidden)}


def impurities(source: str, module: str) -> set[str]:
    """What a pure module imports that is not: libraries that do I/O, and modules of ours that are not pure."""
    if not is_in(module, PURE):
        return set()
    names = imports(source, module)
    return {name for name in names if is_in(name, IMPURE) or (is_in(name, PACKAGES) and not is_in(name, PURE))}


def without_tests(modules: Iterable[PurePath], tests: Iterable[PurePath]) -> list[str]:
    """The modules, relative to the root, whose mirrored test file is missing."""
    there = set(tests)
    return sorted(
        str(module)
        for module in modules
        if module.stem not in UNTESTED and "tests" / module.with_name(f"test_{module.name}") not in there
    )


def has_code(source: str) -> bool:
    """Whether there is anything to test: a module that only declares has no function."""
    return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(source)))


def our_files() -> list[PurePath]:
    found = [file for package in sorted(PACKAGES) for file in sorted((ROOT / package).rglob("*.py"))]
    return [PurePath(file.relative_to(ROOT)) for file in found if "node_modules" not in file.parts]


def dotted(file: PurePath) -> str:
    """A file's name as an import has it; a package's ``__init__`` keeps that name, as its `.` is the package."""
    return ".".join(file.with_suffix("").parts)


OURS = our_files()
SERVICE = [file for file in OURS if file.parts[0] == "service" and len(file.parts) > 1 and file.stem != "__init__"]


# The house


@pytest.mark.parametrize("file", OURS, ids=str)
def test_a_package_imports_no_other_that_it_must_not_know(file: PurePath) -> None:
    assert foreign((ROOT / file).read_text(), dotted(file)) == set()


@pytest.mark.parametrize("file", SERVICE, ids=str)
def test_the_service_imports_along_the_arrow(file: PurePath) -> None:
    assert against_the_arrow((ROOT / file).read_text(), dotted(file)) == set()


@pytest.mark.parametrize("file", [file for file in OURS if is_in(dotted(file), PURE)], ids=str)
def test_a_pure_module_imports_nothing_that_does_io(file: PurePath) -> None:
    assert impurities((ROOT / file).read_text(), dotted(file)) == set()


def test_every_module_has_its_tests() -> None:
    tests = [PurePath(file.relative_to(ROOT)) for file in (ROOT / "tests").rglob("test_*.py")]
    assert without_tests([file for file in OURS if has_code((ROOT / file).read_text())], tests) == []


def test_the_names_that_the_rules_name_are_there() -> None:
    """A module that was renamed would fall out of its rule in silence."""
    modules = {dotted(file).removesuffix(".__init__") for file in OURS}
    assert modules >= PURE
    assert modules >= {f"service.{name}" for name in FOLDERS | SEE_ALL}
    assert modules >= set(MAY_IMPORT)


def test_no_folder_of_the_service_is_outside_the_rules() -> None:
    assert {file.parts[1] for file in SERVICE if len(file.parts) > 2} == FOLDERS


def test_nothing_shadows_the_library_supabase() -> None:
    assert not list((ROOT / "supabase").rglob("*.py"))


# The checkers


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import time", {"time"}),
        ("import a.b as c, d", {"a.b", "d"}),
        ("from a.b import c, d as e", {"a.b.c", "a.b.d"}),
        ("from a import *", {"a.*"}),
        ("from . import b", {"service.feeds.b"}),
        ("from .ring import Ring", {"service.feeds.ring.Ring"}),
        ("from ..streams import sse", {"service.streams.sse"}),
        ("def f():\n    if x:\n        import time", {"time"}),
        ("if TYPE_CHECKING:\n    from a import b", {"a.b"}),
        ("import importlib\nimportlib.import_module('a.b')", {"importlib", "a.b"}),
        ("__import__('a')", {"a"}),
        ("x = 'import time'  # import time", set()),
    ],
)
def test_every_way_to_import_is_seen(source: str, names: set[str]) -> None:
    assert imports(source, "service.feeds.hub") == names


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rowcast.core", "import service"),
        ("rowcast.core", "from workers import ingest"),
        ("rowcast.core", "from devstack.errors import DevstackError"),
        ("boms.reading", "import rowcast"),
        ("workers.ingest", "from service.errors import ApiError"),
        ("workers.ingest", "import devstack.stack"),
        ("devstack.dev", "from service.app import create_app"),
        ("devstack.dev", "def f():\n    from service import app"),
        ("service.app", "from devstack import stack"),
        ("service.watch", "import workers.ingest"),
        ("service.cli", "import rowcast"),
    ],
)
def test_a_foreign_import_is_found(module: str, source: str) -> None:
    assert foreign(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("workers.ingest", "import rowcast\nfrom workers.reading import find"),
        ("service.streams.uploads", "from boms.reading import read"),
        ("service.cli", "from devstack import dev\nfrom workers import ingest"),
        ("service.app", "import services\nfrom rowcasting import x"),
    ],
)
def test_a_permitted_import_is_not(module: str, source: str) -> None:
    assert not foreign(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("service.changes.listener", "from service.events.model import Feed"),
        ("service.changes.listener", "from service.feeds import hub"),
        ("service.changes.listener", "from service.access.gate import Gate"),
        ("service.events.project", "import service.feeds.ring"),
        ("service.events.project", "from ..streams import sse"),
        ("service.feeds.hub", "from service.streams.frames import message"),
        ("service.feeds.hub", "from service import app"),
        ("service.streams.sse", "from service.pipeline import running"),
        ("service.streams.sse", "from service.health import blueprint"),
        ("service.access.gate", "from service.streams import asked"),
        ("service.access.gate", "from service.backoff import delays"),
        ("service.access.gate", "import service"),
        ("service.watch", "from service.events.project import ProjectFeed"),
        ("service.errors", "from service.changes.change import Change"),
        ("service.settings", "from service.cli import main"),
    ],
)
def test_an_import_against_the_arrow_is_found(module: str, source: str) -> None:
    assert against_the_arrow(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("service.streams.sse", "from service.access import gate\nfrom service.changes.change import FeedKey"),
        (
            "service.streams.sse",
            "from service.feeds.hub import Hub\nimport service.tasks, service.events",
        ),
        ("service.feeds.hub", "from service.feeds.ring import Ring\nfrom service.errors import ApiError"),
        ("service.access.gate", "from service.access.jwks import Verifier\nfrom service.errors import ApiError"),
        ("service.pipeline", "from service.streams import sse\nfrom service.access import gate"),
        ("service.watch", "from service.backoff import delays"),
    ],
)
def test_an_import_along_the_arrow_is_not(module: str, source: str) -> None:
    assert not against_the_arrow(source, module)


@pytest.mark.parametrize("module", ["service.feeds.ring", "service.events.anything", "service.access.tokens"])
@pytest.mark.parametrize("name", sorted(IMPURE))
def test_io_in_a_pure_module_is_found(module: str, name: str) -> None:
    assert impurities(f"import {name}", module)
    assert impurities(f"def f():\n    from {name}.x import y", module)


def test_a_pure_module_that_imports_one_that_is_not_is_found() -> None:
    assert impurities("from service.feeds.hub import Hub", "service.feeds.ring")
    assert impurities("from service import backoff", "service.events.project")


def test_what_is_pure_or_need_not_be_is_not() -> None:
    assert not impurities("from datetime import datetime\nimport json, timeit", "service.feeds.ring")
    assert not impurities("from service.changes.change import Change", "service.feeds.ring")
    assert not impurities("import asyncio, time", "service.feeds.hub")


def test_a_module_without_its_tests_is_found() -> None:
    modules = [PurePath(name) for name in ("service/a.py", "service/b/c.py", "service/__init__.py", "x/__main__.py")]
    assert without_tests(modules, []) == ["service/a.py", "service/b/c.py"]
    assert without_tests(modules, [PurePath("tests/service/test_a.py"), PurePath("tests/test_c.py")]) == [
        "service/b/c.py"
    ]
    assert without_tests(modules, [PurePath("tests/service/test_a.py"), PurePath("tests/service/b/test_c.py")]) == []


def test_a_module_that_only_declares_needs_no_tests() -> None:
    assert not has_code("LIMIT = 3\n\nclass Point:\n    x: int\n")
    assert has_code("class Point:\n    def move(self) -> None: ...\n")
