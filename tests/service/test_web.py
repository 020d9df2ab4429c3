"""The project page as the service serves it: an export's files, and nothing else of the machine."""

import base64
import gzip
import hashlib
from pathlib import Path

import pytest
from quart import typing

from service.app import create_app
from service.settings import Settings
from service.web import policy

SUPABASE = "https://abcd.supabase.co"
ENVIRONMENT = {
    "SUPABASE_URL": SUPABASE,
    "SUPABASE_SECRET_KEY": "sb_secret_known-to-nobody",
    "SUPABASE_PUBLISHABLE_KEY": "sb_publishable_known-to-all",
}
INLINE = '(self.__next_f=self.__next_f||[]).push([0,"<p>"])'
PAGE = f'<title>Projects</title><script src="/_next/static/a.js" async=""></script><script id="_R_">{INLINE}</script>'


@pytest.fixture
def export(tmp_path: Path) -> Path:
    made = {
        "index.html": PAGE, "project.html": "<title>Project</title>", "icon.svg": "<svg/>", "index.txt": "parts",
        "404.html": "none",
        "project/__next._full.txt": "parts", "_next/static/chunks/a-1.js": "1", "../secret.html": "s", "../secret": "s",
    }  # fmt: skip
    for name, text in made.items():
        file = tmp_path / "out" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "out"


@pytest.fixture
def browser(export: Path) -> typing.TestClientProtocol:
    return create_app(Settings.from_environment({**ENVIRONMENT, "ROWCAST_WEB_DIR": str(export)})).test_client()


@pytest.mark.parametrize(
    ("path", "text", "kind", "cache"),
    [
        ("/", PAGE, "text/html; charset=utf-8", "no-cache"),
        ("/?id=1", PAGE, "text/html; charset=utf-8", "no-cache"),
        ("/project?id=1", "<title>Project</title>", "text/html; charset=utf-8", "no-cache"),
        ("/index.txt?_rsc=1", "parts", "text/plain; charset=utf-8", "no-cache"),
        ("/project/__next._full.txt", "parts", "text/plain; charset=utf-8", "no-cache"),
        ("/icon.svg", "<svg/>", "image/svg+xml; charset=utf-8", "no-cache"),
        ("/_next/static/chunks/a-1.js", "1", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
    ],
)
async def test_pages_and_what_belongs_to_them(
    browser: typing.TestClientProtocol, path: str, text: str, kind: str, cache: str
) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, await answer.get_data(as_text=True)) == (200, text)
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Cache-Control"] == cache
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "gzip"), ("br", None), ("gzip;q=0", None)])
async def test_scripts_are_compressed_for_who_can_read_that(
    browser: typing.TestClientProtocol, accepted: str, encoding: str | None
) -> None:
    answer = await browser.get("/_next/static/chunks/a-1.js", headers={"Accept-Encoding": accepted})
    body = await answer.get_data(as_text=False)
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Vary"] == "Accept-Encoding, Origin"
    assert int(answer.headers["Content-Length"]) == len(body)
    assert (gzip.decompress(body) if encoding else body) == b"1"
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"


async def test_a_page_may_run_what_is_in_it_and_ask_this_service_and_supabase(
    browser: typing.TestClientProtocol,
) -> None:
    answer = await browser.get("/")
    allowed = base64.b64encode(hashlib.sha256(INLINE.encode()).digest()).decode()
    assert answer.headers["Content-Security-Policy"] == policy(PAGE, SUPABASE)
    assert f"script-src 'self' 'sha256-{allowed}'; style-src 'self';" in policy(PAGE, SUPABASE)
    assert f"connect-src 'self' {SUPABASE};" in policy(PAGE, SUPABASE)
    assert "default-src 'none'" in policy(PAGE, SUPABASE)
    assert "unsafe" not in policy(PAGE, SUPABASE)


async def test_it_is_told_what_is_public_and_no_more(browser: typing.TestClientProtocol) -> None:
    answer = await browser.get("/config.json")
    assert await answer.get_json() == {"supabaseUrl": SUPABASE, "publishableKey": "sb_publishable_known-to-all"}


@pytest.mark.parametrize(
    "path",
    [
        "/nothing", "/nothing/here", "/_next/static/nothing.js", "/_next/static/", "/_next", "/project/", "/api/none",
        "/..%2fsecret", "/%2e%2e/secret.html", "/../secret.html", "/_next/static/../../../secret",
        "/_next/static/..%2f..%2f..%2fsecret", "/project/..%2f..%2fsecret",
        "/secret%00.html", "/..\\secret", "/project%2e",
    ],
)  # fmt: skip
async def test_what_is_not_in_the_export_is_not_there(browser: typing.TestClientProtocol, path: str) -> None:
    answer = await browser.get(path)
    assert (answer.status_code, (await answer.get_json())["error"]) == (404, "not_found")


async def test_a_person_who_mistypes_is_told_so_on_a_page(browser: typing.TestClientProtocol) -> None:
    answer = await browser.get("/nothing", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (answer.status_code, await answer.get_data(as_text=True)) == (404, "none")
    assert answer.headers["Content-Security-Policy"] == policy("none", SUPABASE)


async def test_the_services_own_addresses_are_no_pages(browser: typing.TestClientProtocol, export: Path) -> None:
    (export / "docs.html").write_text("not these")
    assert "not these" not in await (await browser.get("/docs")).get_data(as_text=True)
    assert (await browser.post("/project")).status_code == 405


async def test_without_an_export_there_is_no_page(export: Path) -> None:
    browser = create_app(Settings.from_environment(ENVIRONMENT)).test_client()
    assert [(await browser.get(path)).status_code for path in ("/", "/project", "/config.json")] == [404] * 3
