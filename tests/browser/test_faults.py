"""What goes wrong around the project page, and what its reader sees of it."""

import json
import time

import jwt

from tests.browser.conftest import Page, network
from tests.browser.test_page import figures
from tests.conftest import StackFacts

PARTS = [f"P{number}" for number in range(50)]


def test_a_service_that_is_killed_mid_run_and_comes_back(page: Page) -> None:
    bom = page.project.bom(*PARTS)
    run = page.project.start(bom)
    run.batch()
    page.open_bom(bom)
    page.until(lambda: page.badge == "Live" and figures(page)["Enriched"] == "10")
    page.service.kill()
    page.until(lambda: page.badge in ("Connecting", "Polling"))
    page.sees("Trying again" if page.badge == "Connecting" else "asks every few seconds", ".notice")
    assert page.violations() == []
    run.batch()
    run.batch()
    page.service.start()
    page.press("Try now", ".top")
    page.until(lambda: page.badge == "Live" and figures(page)["Enriched"] == "30")
    run.all()
    page.until(lambda: figures(page)["Enriched"] == "50")
    page.press("Enriched", ".tools")
    page.sees("50 of 50", ".tools")


def test_offline_and_online_again(page: Page) -> None:
    page.open_project()
    page.project.proposal("before")
    page.sees("before")
    network(page.browser, offline=True)
    page.until(lambda: page.badge == "Offline")
    page.sees("You are offline", ".notice")
    assert page.violations() == []
    page.project.proposal("while away")  # Chromium's offline may let an open stream tell it at once, or not
    network(page.browser)
    page.sees("while away")
    page.until(lambda: page.badge == "Live")
    assert page.browser.text(".notice") == ""


def test_who_signs_out_offline_is_signed_out(page: Page) -> None:
    page.open_project()
    network(page.browser, offline=True)
    page.press("Sign out", ".top")
    page.sees("Sign in", "form")
    assert page.browser.run("return localStorage.getItem('rowcast-session')") is None


def test_six_tabs_have_one_connection_and_the_leader_may_go(page: Page) -> None:
    page.open_project()
    first = page.browser.tabs[0]
    others = [page.browser.tab() for _ in range(5)]
    for handle in others:
        page.browser.switch(handle)
        page.open_project()
    page.until(lambda: page.service.streams("project") == 1)  # those of the tests before are gone soon
    page.project.proposal("to all")
    for handle in (first, *others):
        page.browser.switch(handle)
        page.sees("to all")

    page.browser.switch(first)  # it was there first, so it has the connection
    page.browser.close()
    page.project.proposal("after the leader")
    for handle in others:
        page.browser.switch(handle)
        page.sees("after the leader")
        page.until(lambda: page.badge == "Live")
    page.until(lambda: page.service.streams("project") == 1)


def kept_token(page: Page) -> str:
    return str(json.loads(page.browser.run("return localStorage.getItem('rowcast-session')"))["access_token"])


def test_a_token_that_expires_mid_run_is_replaced_unseen(page: Page, stack: StackFacts) -> None:
    """The stream's token is good for three more seconds; the session has a newer one when asked."""
    stored = json.loads(page.browser.run("return localStorage.getItem('rowcast-session')"))
    claims = jwt.decode(stored["access_token"], options={"verify_signature": False})
    short = jwt.encode({**claims, "exp": int(time.time()) + 3}, stack.jwt_secret, algorithm="HS256")
    stored["access_token"] = short
    page.browser.run("localStorage.setItem('rowcast-session', arguments[0])", json.dumps(stored))
    page.open_project()
    page.until(lambda: kept_token(page) != short)
    ended = "return performance.getEntriesByType('resource').filter(({ name }) => name.includes('/status')).length"
    page.until(lambda: page.browser.run(ended))
    page.project.proposal("after its end")
    page.sees("after its end")
    assert page.badge == "Live"


def test_who_is_removed_sees_no_more_of_it(page: Page) -> None:
    page.project.proposal("secret plan")
    page.open_project()
    page.sees("secret plan")
    page.project.execute("delete from project_members where project_id = %s", page.project.id)
    page.sees("There is no such project")
    assert "secret plan" not in page.browser.text("body")
    assert page.violations() == []


def test_a_slow_network_shows_that_something_is_coming(page: Page) -> None:
    page.project.proposal("far away")
    network(page.browser, latency=300, throughput=400_000)
    page.open(f"project?id={page.project.id}")
    page.until(lambda: page.browser.run("return !!document.querySelector('.skeleton')"))
    page.sees("far away")
    page.until(lambda: page.badge == "Live")
