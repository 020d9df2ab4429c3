"""What load balancers and orchestrators are told."""

import httpx

from tests.conftest import StackFacts, unused_port
from tests.service.conftest import served, service_environment


def test_a_service_that_can_serve_is_alive_and_ready(service: str) -> None:
    assert httpx.get(f"{service}/livez").json() == {"status": "ok"}
    ready = httpx.get(f"{service}/readyz")
    assert (ready.status_code, ready.json()) == (
        200,
        {"status": "ready", "database": True, "listener": True, "realtime": True, "reason": None},
    )


def test_a_service_without_its_database_is_alive_and_not_ready(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "SUPABASE_URL": f"http://127.0.0.1:{unused_port()}"}
    with served(environment, path="/livez") as url:
        assert httpx.get(f"{url}/livez").status_code == 200
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert (ready.json()["status"], ready.json()["database"]) == ("unready", False)
        assert "ConnectError" in ready.json()["reason"]


def test_a_service_with_the_wrong_key_says_what_the_database_says(stack: StackFacts) -> None:
    environment = {**service_environment(stack), "SUPABASE_SECRET_KEY": "sb_secret_wrong"}
    with served(environment, path="/livez") as url:
        ready = httpx.get(f"{url}/readyz")
        assert ready.status_code == 503
        assert "Invalid API key" in ready.json()["reason"]
