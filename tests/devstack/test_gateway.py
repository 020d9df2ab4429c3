import asyncio
import gzip
import io
import json
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from devstack.gateway import serve
from devstack.lite import Keys
from tests.conftest import unused_port

KEYS = Keys("sb_publishable_x", "sb_secret_x", "unused here")
BIG = bytes(range(256)) * 40_000  # 10 MB


class Upstream:
    """A server in Lite's place, which tells what reached it."""

    def __init__(self):
        self.port = unused_port()
        self.requests = []

    async def answer(self, request):
        length = sum([len(piece) async for piece in request.content.iter_any()])
        self.requests.append(request)
        if request.path.endswith("/big"):
            return web.Response(body=BIG)
        if request.path.endswith("/packed"):
            return web.Response(body=gzip.compress(b"packed"), headers={"Content-Encoding": "gzip"})
        if request.path.endswith("/moved"):
            return web.Response(status=302, headers={"Location": "http://elsewhere.example/"})
        if request.path.endswith("/cookies"):
            return web.Response(status=201, headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-One", "1")])
        if request.path.endswith("/empty"):
            return web.Response(status=204)
        told = {"method": request.method, "target": request.raw_path, "headers": [*request.headers.items()]}
        return web.json_response({**told, "body": length}, status=int(request.query.get("status", 200)))


@pytest.fixture
async def upstream():
    server = Upstream()
    runner = web.ServerRunner(web.Server(server.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", server.port).start()
    yield server
    await runner.cleanup()


@pytest.fixture
async def url(upstream):
    port = unused_port()
    async with serve(port, f"http://127.0.0.1:{upstream.port}", KEYS, []):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(url):
    async with aiohttp.ClientSession(url, headers={"apikey": KEYS.publishable}) as session:
        yield session


async def raw(url, target, method="GET", *headers):
    """Status and body of a request that no library has tidied up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    lines = [f"{method} {target} HTTP/1.1", "Host: gateway", "Connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


# Keys

PATHS = [
    "/rest/v1",
    "/rest/v1/",
    "/rest/v1/projects?select=*",
    "/rest/v1/rpc/feed_since",
    "/auth/v1/signup",
    "/auth/v1/user",
]
WAYS_AROUND = [
    "/auth/v1/verify/../../../rest/v1/projects",
    "/auth/v1/verify/%2e%2e/%2e%2e/%2E%2E/rest/v1/projects",
    "/auth/v1/verify/.%2e/.%2e/.%2e/rest/v1/projects",
    "/auth/v1/verify%2f..%2f..%2f..%2frest/v1/projects",
    "/auth/v1/verify/..\\..\\..\\rest\\v1\\projects",
    "/auth/v1/verify/%5c..%5c../../../rest/v1/projects",
    "/auth/v1/.well-known/../../../rest/v1/projects",
    "/auth/v1/verify/./x",
    "/rest/v1/../../rest/v1/projects",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "TRACE", "PROPFIND"])
async def test_without_a_key_nothing_gets_through(upstream, url, method):
    async with aiohttp.ClientSession(url) as session:
        for path in PATHS:
            async with session.request(method, path) as answer:
                assert answer.status == 401
                assert answer.headers["Access-Control-Allow-Origin"] == "*"
                assert method == "HEAD" or (await answer.json())["message"] == "No API key found in request"
    assert upstream.requests == []


@pytest.mark.parametrize(
    "headers",
    [
        {"apikey": ""},
        {"apikey": "guessed"},
        {"apikey": KEYS.secret[:-1]},
        {"apikey": f"{KEYS.secret}, {KEYS.secret}"},
        {"Authorization": f"Bearer {KEYS.secret}"},
        {"X-Apikey": KEYS.secret},
        {"Cookie": f"apikey={KEYS.secret}"},
    ],
)
async def test_a_wrong_key_does_not_get_through(upstream, url, headers):
    async with aiohttp.ClientSession(url, headers=headers) as session, session.get("/rest/v1/projects") as answer:
        assert answer.status == 401
        assert (await answer.json())["message"] in ("Invalid API key", "No API key found in request")
    assert upstream.requests == []


@pytest.mark.parametrize("key", ["", " ", "\r\napikey: " + KEYS.secret, "\x00", "guessed", "ключ"])
async def test_a_wrong_key_in_the_query_does_not_get_through(upstream, url, key):
    status, _ = await raw(url, f"/rest/v1/projects?apikey={quote(key)}")
    assert status == 401
    assert upstream.requests == []


@pytest.mark.parametrize("path", WAYS_AROUND)
async def test_a_path_that_would_be_another_one_to_lite_does_not_get_through(upstream, url, path):
    for headers in ((), (f"apikey: {KEYS.publishable}",)):
        status, body = await raw(url, path, "GET", *headers)
        assert (status, json.loads(body)["message"][:34]) == (404, "no Route matched with those values")
    assert upstream.requests == []


@pytest.mark.parametrize("target", ["http://elsewhere.example/rest/v1/projects", "//rest/v1/projects"])
async def test_another_server_can_not_be_asked_for(upstream, url, target):
    status, _ = await raw(url, target, "GET", f"apikey: {KEYS.secret}")
    assert [request.raw_path for request in upstream.requests] == (["/rest/v1/projects"] if status == 200 else [])
    assert status in (200, 404)


@pytest.mark.parametrize("key", [KEYS.publishable, KEYS.secret])
async def test_a_key_may_come_in_a_header_or_in_the_query(upstream, url, key):
    async with aiohttp.ClientSession(url) as session:
        for address, headers in (("/rest/v1/x", {"APIKEY": key}), (f"/rest/v1/x?apikey={key}", {})):
            async with session.get(address, headers=headers) as answer:
                assert answer.status == 200
    assert [request.headers.getall("apikey") for request in upstream.requests] == [[key], [key]]


async def test_open_paths_and_preflights_reach_lite_with_the_publishable_key(upstream, url):
    asked = [
        ("GET", "/auth/v1/.well-known/jwks.json"),
        ("GET", "/auth/v1/verify?token=x&type=signup"),
        ("GET", "/auth/v1/callback"),
        ("GET", "/auth/v1/authorize"),
        ("OPTIONS", "/rest/v1/projects"),
        ("OPTIONS", "/auth/v1/signup"),
    ]
    async with aiohttp.ClientSession(url) as session:
        for method, path in asked:
            async with session.request(method, path) as answer:
                assert answer.status == 200
    assert [(request.method, request.raw_path) for request in upstream.requests] == asked
    assert {request.headers["apikey"] for request in upstream.requests} == {KEYS.publishable}


# What passes through


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "PUT", "DELETE"])
async def test_method_path_query_headers_and_status_pass(client, method):
    target = "/rest/v1/a%20b/%C3%A9?select=*,x(y)&id=eq.%2B1&or=(a.is.null,b.gt.1)&status=418"
    async with client.request(method, target, headers=[("X-Many", "1"), ("X-Many", "2")]) as answer:
        seen = await answer.json()
        assert answer.status == 418
    assert (seen["method"], seen["body"]) == (method, 0)
    assert seen["target"] == target
    assert [value for name, value in seen["headers"] if name == "X-Many"] == ["1", "2"]


async def test_lite_gets_no_header_that_the_client_did_not_send(upstream, url):
    await raw(url, "/rest/v1/x", "GET", f"apikey: {KEYS.secret}", "X-Sent: 1")
    (request,) = upstream.requests
    assert {name.lower() for name in request.headers} == {"host", "apikey", "x-sent"}
    assert request.headers["Host"] == f"127.0.0.1:{upstream.port}"


async def test_duplicate_headers_of_the_answer_pass(client):
    async with client.get("/rest/v1/cookies") as answer:
        assert answer.status == 201
        assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]
        assert answer.headers.getall("X-One") == ["1"]


async def test_big_bodies_pass_both_ways(client):
    async with client.post("/rest/v1/in", data=io.BytesIO(BIG)) as answer:
        assert (await answer.json())["body"] == len(BIG)
    async with client.get("/rest/v1/big") as answer:
        assert await answer.read() == BIG


async def test_a_body_in_pieces_passes(client):
    async def pieces():
        for _ in range(3):
            yield b"piece"

    async with client.post("/rest/v1/in", data=pieces()) as answer:
        assert (await answer.json())["body"] == 15
    async with client.post("/rest/v1/in", data=b"piece") as answer:
        seen = await answer.json()
        assert (seen["body"], dict(seen["headers"])["Content-Length"]) == (5, "5")


async def test_a_packed_body_passes_as_it_is(url):
    async with (
        aiohttp.ClientSession(url, auto_decompress=False) as session,
        session.get("/rest/v1/packed", headers={"apikey": KEYS.secret}) as answer,
    ):
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(await answer.read()) == b"packed"


async def test_a_redirection_is_the_client_s_to_follow(client):
    async with client.get("/auth/v1/moved", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "http://elsewhere.example/")


async def test_head_tells_the_length_of_what_get_would_bring(client):
    async with client.head("/rest/v1/big") as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(BIG)))
        assert await answer.read() == b""


async def test_an_answer_without_a_body_passes(client):
    async with client.delete("/rest/v1/empty") as answer:
        assert (answer.status, await answer.read()) == (204, b"")


# What does not


async def test_an_unknown_path_is_told_in_json(client, upstream):
    for path in ("/", "/rest", "/rest/v2/x", "/storage/v1/object", "/rest%2Fv1/x", "/restv1"):
        async with client.get(path) as answer:
            assert answer.status == 404
            assert (await answer.json())["message"].startswith("no Route matched with those values: /")
    assert upstream.requests == []


async def test_a_lite_that_is_down_is_told_in_json():
    port = unused_port()
    async with (
        serve(port, f"http://127.0.0.1:{unused_port()}", KEYS, []),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/rest/v1/x", headers={"apikey": KEYS.secret}) as answer,
    ):
        assert answer.status == 503
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "can't be reached" in (await answer.json())["message"]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_lite_that_breaks_off_is_asked_once_and_told_in_json(method):
    asked = []

    async def break_off(reader, writer):
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    broken = await asyncio.start_server(break_off, "127.0.0.1", unused_port())
    port = unused_port()
    async with (
        broken,
        serve(port, f"http://127.0.0.1:{broken.sockets[0].getsockname()[1]}", KEYS, []),
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}/rest/v1/x", headers={"apikey": KEYS.secret}) as answer,
    ):
        assert answer.status == 503
    assert len(asked) == 1


# In front of the real ones


async def test_before_the_real_lite_no_way_around_a_key_shows_a_row(stack):
    for method in ("GET", "HEAD", "DELETE"):
        for path in ("/rest/v1/projects", *WAYS_AROUND):
            status, body = await raw(stack.supabase_url, path, method)
            assert status in (401, 404), path
            assert b'"id"' not in body
    status, body = await raw(stack.supabase_url, "/rest/v1/projects", "GET", f"apikey: {stack.secret_key}")
    assert (status, b'"id"' in body) == (200, True)


async def test_before_the_real_stand_in_no_key_or_a_wrong_one_opens_no_socket(stack):
    async def attempt(query):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with (
                aiohttp.ClientSession() as session,
                session.ws_connect(f"{stack.supabase_url}/realtime/v1/websocket{query}"),
            ):
                pass
        return refusal.value.status

    assert await asyncio.gather(attempt(""), attempt("?apikey=guessed")) == [401, 401]


async def test_the_real_lite_answers_get_head_and_a_browser_s_preflight(stack):
    async with aiohttp.ClientSession(stack.supabase_url) as session:
        key = {"apikey": stack.secret_key}
        async with session.get("/rest/v1/projects?select=id", headers=key) as answer:
            rows = await answer.read()
            assert answer.status == 200
        async with session.head("/rest/v1/projects?select=id", headers=key) as answer:
            assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(rows)))
        async with session.get(f"/rest/v1/projects?select=id&apikey={stack.secret_key}") as answer:
            assert await answer.read() == rows
        preflight = {
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "PATCH",
            "Access-Control-Request-Headers": "apikey,authorization,content-type",
        }
        async with session.options("/rest/v1/projects", headers=preflight) as answer:
            assert answer.status in (200, 204)
            assert answer.headers["Access-Control-Allow-Origin"] in ("*", "http://localhost:3000")
            assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
            allowed = answer.headers["Access-Control-Allow-Headers"].replace(" ", "").split(",")
            assert {"apikey", "authorization", "content-type"} <= {*allowed}
        async with session.options("/auth/v1/token", headers=preflight) as answer:
            assert answer.headers["Access-Control-Allow-Headers"] == "apikey,authorization,content-type"
        async with session.post("/auth/v1/token?grant_type=password", headers=key, json={}) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (400, "*")
