"""A real browser, driven over the W3C WebDriver protocol: headless Chromium and chromedriver."""

import base64
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import unused_port

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The protocol's name for a reference to an element."""

SWITCHES = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


class Browser:
    """One window. Times are in s, sizes in CSS pixels."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver = driver
        self._session = f"/session/{session}"

    def ask(self, command: str, **body: Any) -> Any:
        """What the driver answers to a command of the session."""
        return value_of(self._driver.post(f"{self._session}/{command}", json=body))

    def open(self, url: str) -> None:
        self.ask("url", url=url)

    @property
    def address(self) -> str:
        return str(value_of(self._driver.get(f"{self._session}/url")))

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a function's body in the page; its arguments are ``arguments[0]`` and so on."""
        return self.ask("execute/sync", script=script, args=list(arguments))

    def text(self, selector: str) -> str:
        """The text that a person sees of an element."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((each) => each.innerText)", selector
        )
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Looks again and again; the test's own time limit is the limit."""
        while not condition():
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        self.ask(f"element/{self._find(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        """Types into a field, after what is there; "\\ue007" is Enter."""
        self.ask(f"element/{self._find(selector)}/value", text=text)

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, wherever the focus is."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self.ask("actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def resize(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """As a screen of that width, which a window can't be narrow enough for."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def tab(self) -> str:
        """Opens a tab beside the present one, which stays the present one; its handle."""
        return str(self.ask("window/new", type="tab")["handle"])

    def switch(self, handle: str) -> None:
        self.ask("window", handle=handle)

    @property
    def tabs(self) -> list[str]:
        """The handles of all."""
        return list(value_of(self._driver.get(f"{self._session}/window/handles")))

    def close(self) -> None:
        """Closes the present tab; another is to be switched to."""
        value_of(self._driver.delete(f"{self._session}/window"))

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self.ask("goog/cdp/execute", cmd=command, params=parameters)

    def log(self) -> list[str]:
        """What the console was told since it was last asked: errors of scripts, and what the policy has refused."""
        return [entry["message"] for entry in self.ask("se/log", type="browser")]

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(value_of(self._driver.get(f"{self._session}/screenshot"))))

    def _find(self, selector: str) -> str:
        return str(self.ask("element", using="css selector", value=selector)[ELEMENT])


def value_of(answer: httpx.Response) -> Any:
    value = answer.json()["value"]
    assert answer.status_code == httpx.codes.OK, value
    return value


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser of its own, with an empty profile. Where none is installed the test is skipped, but never in CI."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        if os.environ.get("CI"):
            raise RuntimeError("chromium and chromedriver are not installed")
        pytest.skip("needs chromium and chromedriver")
    port = unused_port()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        try:
            options = {"binary": chromium, "args": [*SWITCHES, f"--user-data-dir={profile}"]}
            capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            wait_for(client, process)
            made = value_of(client.post("/session", json={"capabilities": {"alwaysMatch": capabilities}}))
            try:
                yield Browser(client, made["sessionId"])
            finally:
                client.delete(f"/session/{made['sessionId']}")
        finally:
            process.terminate()


def wait_for(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    while True:
        if process.poll() is not None:
            raise RuntimeError(f"chromedriver ended with {process.returncode}")
        try:
            client.get("/status")
        except httpx.ConnectError:
            time.sleep(0.02)
        else:
            return
