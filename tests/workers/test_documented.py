"""The provider that docs/workers.md shows, as it stands there, against a service that misbehaves."""

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from workers.catalogue import Facts, Part

DOCUMENT = Path(__file__).parents[2] / "docs" / "workers.md"
PART = Part("LM358/NOPB", None)
ANSWER = {"price": 0.13, "stock": 7, "text": "Dual op-amp"}


@pytest.fixture
def service():
    """Answers with the next of ``answers``: a status, or None to hang up; remembers what was asked."""
    told = SimpleNamespace(answers=[], asked=[], url="")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            told.asked.append((self.path, self.headers["Authorization"]))
            status = told.answers.pop(0)
            if status is None:
                self.close_connection = True
                return
            body = json.dumps(ANSWER).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    told.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield told
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
async def catalogue(service):
    (code,) = re.findall(r"```python\n(.*?class HttpCatalogue.*?)```", DOCUMENT.read_text(), re.DOTALL)
    code = code[code.rindex("```python\n") + 10 :] if "```python" in code else code
    assert len(code.strip().splitlines()) <= 32
    namespace = {}
    exec(code, namespace)
    namespace["asyncio"] = SimpleNamespace(sleep=lambda seconds: asyncio.sleep(seconds / 1000))
    made = namespace["HttpCatalogue"](service.url, "k")
    yield made
    await made._client.aclose()


async def test_a_part_is_asked_for_by_its_number(catalogue, service):
    service.answers = [200]
    assert await catalogue.find(PART) == Facts("example.com", 0.13, 7, description="Dual op-amp")
    assert service.asked == [("/parts/LM358%2FNOPB", "Bearer k")]


async def test_a_part_that_is_not_known_is_no_failure(catalogue, service):
    service.answers = [404]
    assert await catalogue.find(PART) is None


async def test_what_may_pass_is_tried_again(catalogue, service):
    service.answers = [503, None, 200]
    assert await catalogue.find(PART) is not None
    assert len(service.asked) == 3


@pytest.mark.parametrize(("answers", "asked"), [([429] * 3, 3), ([401], 1), ([500], 1)])
async def test_what_does_not_pass_is_raised(catalogue, service, answers, asked):
    service.answers = list(answers)
    with pytest.raises(httpx.HTTPStatusError):
        await catalogue.find(PART)
    assert len(service.asked) == asked
