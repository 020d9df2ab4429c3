"""Findings, shortly made."""

from service.findings import Finding, Level, fail, ok, warn


def test_each_level_has_its_word() -> None:
    assert ok("a", "b") == Finding(Level.OK, "a", "b", "")
    assert warn("a", "b", "c") == Finding(Level.WARN, "a", "b", "c")
    assert fail("a", "b", "c") == Finding(Level.FAIL, "a", "b", "c")
