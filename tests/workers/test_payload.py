"""What an ingestion job may ask for, and what it may not."""

from pathlib import Path

import pytest

from workers.payload import PATHS_LIMIT, BadPayload, paths, payload


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "a.md").touch()
    (tmp_path / "secret.md").touch()
    return root


def test_paths_begin_at_the_root(root: Path) -> None:
    asked = {"paths": ["deep/a.md", "deep", ".", "deep/../deep/a.md", str(root / "deep"), "not there"]}
    deep = root / "deep"
    assert paths(asked, root) == [deep / "a.md", deep, root, deep / "a.md", deep, root / "not there"]


def test_a_run_s_own_payload_asks_for_the_same_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    asked = payload([Path("deep"), root / "deep" / "a.md"])
    assert paths(asked, root) == [root / "deep", root / "deep" / "a.md"]
    assert payload([Path("caf\udce9.md")]) == {"paths": [f"{root}/caf?.md"]}


@pytest.mark.parametrize(
    "path", ["..", "../secret.md", "deep/../../secret.md", "/etc/passwd", "/", "link", "way/secret.md"]
)
def test_nothing_outside_the_root_is_read(root: Path, path: str) -> None:
    (root / "link").symlink_to(root.parent / "secret.md")
    (root / "way").symlink_to(root.parent)
    with pytest.raises(BadPayload, match=r"paths\[1\] is outside the folder that this worker reads") as refused:
        paths({"paths": ["deep", path]}, root)
    assert str(root.parent) not in str(refused.value)


def test_a_root_that_is_a_link_is_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(root)
    assert paths({"paths": ["deep"]}, tmp_path / "alias") == [root / "deep"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "payload must be like"),
        ([], "payload must be like"),
        ("deep", "payload must be like"),
        ({}, "payload must be like"),
        ({"paths": ["deep"], "mode": "all"}, "payload has a field 'mode', which nobody knows"),
        ({"paths": None}, "paths must be a list of 1 to 10,000 paths"),
        ({"paths": "deep"}, "paths must be a list"),
        ({"paths": []}, "paths must be a list"),
        ({"paths": ["deep"] * (PATHS_LIMIT + 1)}, "paths must be a list"),
        ({"paths": ["deep", 7]}, r"paths\[1\] must be the path of a file or folder, not '7'"),
        ({"paths": [" "]}, r"paths\[0\] must be the path"),
        ({"paths": ["a\x00b"]}, r"paths\[0\] must be the path"),
        ({"paths": [["deep"]]}, r"paths\[0\] must be the path"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(root: Path, given: object, message: str) -> None:
    with pytest.raises(BadPayload, match=message):
        paths(given, root)


def test_a_name_that_no_system_has_is_refused_by_name(root: Path) -> None:
    (root / "loop").symlink_to("loop")
    with pytest.raises(BadPayload, match=r"paths\[0\] (can't be a path here|is outside)"):
        paths({"paths": ["loop/../../x"]}, root)
