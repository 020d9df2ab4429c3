"""Pages of one file, and what they may do."""

from service.debug import PAGE
from service.pages import answer, policy


async def test_a_page_is_kept_by_nobody_and_frames_nowhere() -> None:
    response = answer(PAGE.read_text())
    assert response.content_type == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


def test_a_policy_knows_its_pages_script_and_style() -> None:
    page = PAGE.read_text()
    assert policy(page).startswith("default-src 'none'; script-src 'sha256-")
    assert policy(page) != policy(page.replace("Parser", "Parsed"))
    assert policy(page) != policy(page.replace("--back", "--front"))


def test_a_page_without_a_script_may_run_none() -> None:
    assert "script-src 'none'; style-src 'sha256-" in policy("<style>a {}</style><p>x")
