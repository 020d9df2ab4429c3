"""The page for people, in a real browser."""

import re
from collections.abc import Iterator

import pytest

from service.schema import openapi
from service.schema.page import html
from tests.service.browser import Browser, running_browser


@pytest.fixture(scope="module")
def browser(service: str) -> Iterator[Browser]:
    with running_browser() as browser:
        browser.open(f"{service}/docs")
        yield browser
        assert browser.log() == []


def test_every_operation_and_every_model_is_in_it(browser: Browser) -> None:
    document = openapi.document()
    operations = [f"{method.upper()} {path}" for path, item in document["paths"].items() for method, _ in item.items()]
    assert sorted(browser.texts("nav li")) == sorted(operations)
    headings = browser.texts("section > h3")
    assert sorted(headings) == sorted([*operations, *document["components"]["schemas"]])


def test_its_links_lead_somewhere_and_it_asks_nobody(browser: Browser) -> None:
    broken = """
        return [...document.querySelectorAll('a[href^="#"]')]
            .map((link) => link.getAttribute('href').slice(1)).filter((id) => !document.getElementById(id))"""
    assert browser.run(broken) == []
    assert browser.run("return performance.getEntriesByType('resource').length") == 0


def test_an_example_unfolds(browser: Browser) -> None:
    browser.run("document.querySelector('#JobUpdate').parentElement.querySelector('summary').click()")
    shown = browser.run("return document.querySelector('#JobUpdate').parentElement.querySelector('pre').innerText")
    assert '"title": "Reading the manuals"' in shown


@pytest.mark.parametrize(("width", "dark"), [(320, False), (768, True), (1440, False)])
def test_it_fits_every_width_in_light_and_dark(browser: Browser, width: int, dark: bool) -> None:
    browser.resize(width, dark=dark)
    assert browser.run("return document.documentElement.scrollWidth") <= width
    back, text = (
        browser.run("return getComputedStyle(document.body)[arguments[0]].match(/\\d+/g).map(Number)", name)
        for name in ("backgroundColor", "color")
    )
    assert (sum(back) < sum(text)) is dark


def test_what_it_tells_is_text() -> None:
    assert not re.findall(r"<[a-z]+[^>]*\b(?:on[a-z]+|style|src)=", html())
    assert "{{" not in html()
