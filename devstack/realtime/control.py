"""The control endpoint for faults, /realtime/v1/faults, for a stand-in that was started with them.

    POST   {"fault": "drop", "topic": "*", "probability": 0.2, "seed": 7}    201, the fault with its id
    GET                                                                      {"faults": […], "struck": {"drop": 17}}
    GET    /{id}                                                             one fault; 404 if there is none
    DELETE /{id}, or DELETE of all                                           the fault, or {"faults": […]}, as it ended

A body that makes no fault is answered 400 {"error", "field"}. JSON must be called that: a page that a browser has open
could else post faults from afar.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Final

from aiohttp import hdrs, web

from devstack.realtime.fault_spec import Fault, FaultError, parse
from devstack.realtime.faults import Active, Faults, matches
from devstack.realtime.server import StandIn

PATH: Final = "/realtime/v1/faults"


class Control:
    """Answers requests for faults, and carries out those that happen at once."""

    def __init__(self, stand_in: StandIn, faults: Faults) -> None:
        self._stand_in = stand_in
        self._faults = faults

    async def add(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":
            return _error(415, hdrs.CONTENT_TYPE, "must be application/json")
        try:
            fault = parse(await request.json(), secrets.randbelow(2**32))
        except FaultError as error:
            return _error(400, error.field, str(error).removeprefix(f"{error.field}: "))
        except ValueError as error:
            return _error(400, "body", f"is not JSON: {error}")
        active = self._faults.add(fault, _now(), self._stand_in.channels(fault.topic))
        if fault.kind in {"close", "kill"}:
            active.strike(self._close(fault))
            active.ended = fault.kind == "close"
        elif fault.kind == "restart":
            active.strike()
        if fault.kind in {"restart", "kill"}:
            # What is committed until the stream is back is lost; a killed server also has to start.
            warm_up = fault.warm_up if fault.kind == "kill" else 0.0
            self._stand_in.stream.interrupt((fault.seconds or 0.0) + warm_up)
        return web.json_response(active.described(), status=201)

    def _close(self, fault: Fault) -> int:
        """Close the sockets that have a channel the fault concerns, all for "*"; returns how many."""
        concerned = [
            connection
            for connection in self._stand_in.connections
            if fault.topic == "*" or any(matches(fault.topic, topic) for topic in connection.socket.channels)
        ]
        for connection in concerned:
            connection.end(fault.code)
        return len(concerned)

    async def list(self, _request: web.Request) -> web.Response:
        return web.json_response({"faults": _described(self._faults.all(_now())), "struck": self._faults.struck()})

    async def show(self, request: web.Request) -> web.Response:
        return web.json_response(self._asked(request).described())

    async def remove(self, request: web.Request) -> web.Response:
        active = self._asked(request)
        self._faults.remove(active)
        return web.json_response(active.described())

    async def clear(self, _request: web.Request) -> web.Response:
        every = self._faults.all(_now())
        for active in every:
            self._faults.remove(active)
        return web.json_response({"faults": _described(every)})

    def _asked(self, request: web.Request) -> Active:
        active = self._faults.get(int(request.match_info["id"]), _now())
        if active is None:
            body = json.dumps({"error": "id: there is no such fault, or it has ended long ago", "field": "id"})
            raise web.HTTPNotFound(text=body, content_type="application/json")
        return active


def control_routes(stand_in: StandIn) -> list[web.RouteDef]:
    """The endpoint's addresses; none for a stand-in without faults."""
    if stand_in.faults is None:
        return []
    control = Control(stand_in, stand_in.faults)
    one = PATH + r"/{id:\d{1,9}}"
    return [
        web.post(PATH, control.add),
        web.get(PATH, control.list),
        web.delete(PATH, control.clear),
        web.get(one, control.show),
        web.delete(one, control.remove),
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()


def _described(every: list[Active]) -> list[dict[str, object]]:
    return [active.described() for active in every]


def _error(status: int, field: str, message: str) -> web.Response:
    return web.json_response({"error": f"{field}: {message}", "field": field}, status=status)
