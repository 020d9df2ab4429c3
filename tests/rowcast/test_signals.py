"""Programs that are stopped, killed inside or left: what becomes of their jobs. Each is a process of its own."""

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import pytest

import rowcast
from rowcast.signals import stop_on_sigterm

PROJECT = "b1c7c8ab-5c0a-4a1e-9d3e-000000000001"
BEGIN = """
import asyncio, signal, sys, threading
import rowcast, rowcast.core, rowcast.writer
JOB = {"project_id": "b1c7c8ab-5c0a-4a1e-9d3e-000000000001", "kind": "test", "title": "A test"}
"""
PLAIN = """
with rowcast.stop_on_sigterm(), rowcast.connect() as client, client.job(**JOB) as job:
    print("ready", flush=True)
    threading.Event().wait()
"""
ASYNC = """
async def main():
    async with rowcast.connect() as client, client.job(**JOB) as job:
        print("ready", flush=True)
        await asyncio.Event().wait()

with rowcast.stop_on_sigterm():
    asyncio.run(main())
"""


@pytest.fixture
def run(server):
    """Runs a program; yields it once it is ready."""

    @contextmanager
    def run(text):
        environment = {**os.environ, "SUPABASE_URL": server.url, "SUPABASE_SECRET_KEY": "sb_secret_test"}
        program = subprocess.Popen(
            [sys.executable, "-c", BEGIN + textwrap.dedent(text)],
            env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            assert program.stdout.readline() == "ready\n", program.communicate()[1]
            yield program
        finally:
            program.kill()
            program.communicate()

    return run


def ended(server):
    (row,) = server.tables["jobs"].values()
    return row["status"], row["error_message"]


@pytest.mark.parametrize("program", [PLAIN, ASYNC])
def test_sigterm_is_a_clean_stop(server, run, program):
    with run(program) as running:
        running.send_signal(signal.SIGTERM)
        assert running.wait(60) == 128 + signal.SIGTERM
    assert ended(server) == ("stopped", None)


@pytest.mark.parametrize("program", [PLAIN, ASYNC])
def test_ctrl_c_while_the_database_is_away_does_not_wait_out_the_deadline_and_says_what_is_lost(server, run, program):
    away = program.replace("connect()", "connect(deadline=3600)")
    with run("rowcast.core.STOP_SECONDS = 0.1\n" + away) as running:
        server.die()
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    server.start()
    assert "Could not deliver the job's end." in said
    assert "the job's end (stopped)" in said
    assert "KeyboardInterrupt" in said


@pytest.mark.parametrize("program", [PLAIN, ASYNC])
def test_a_second_ctrl_c_leaves_at_once(server, run, program):
    away = program.replace("connect()", "connect(deadline=3600)")
    with run("rowcast.core.STOP_SECONDS = 3600\nrowcast.writer.STOP_SECONDS = 0.1\n" + away) as running:
        server.die()
        while running.poll() is None:  # until it has noticed both
            running.send_signal(signal.SIGINT)
            try:
                running.wait(0.2)
            except subprocess.TimeoutExpired:
                continue
        assert "Could not deliver the job's end." in running.stderr.read()
    server.start()


@pytest.mark.parametrize(
    "leave",
    [
        """
        client = rowcast.connect().__enter__()
        job = client.job(**JOB).__enter__()
        job.advance(3)
        print("ready", flush=True)
        sys.stdin.read(0)
        """,
        """
        async def main():
            async with rowcast.connect() as client, client.job(**JOB) as job:
                job.advance(3)
                print("ready", flush=True)
                asyncio.get_running_loop().stop()
                await asyncio.Event().wait()

        loop = asyncio.new_event_loop()
        task = loop.create_task(main())
        loop.run_forever()
        loop.close()
        """,
    ],
)
def test_a_block_that_is_never_left_is_ended_with_the_program(server, run, leave):
    with run(leave) as running:
        running.wait(60)
    assert ended(server) == ("stopped", "The program ended in the middle of it.")
    assert server.updates("progress_current")[-1] == 3


def test_a_killed_event_loop_s_job_ends_when_its_task_is_collected(server, run):
    program = """
    async def main():
        async with rowcast.connect() as client, client.job(**JOB) as job:
            asyncio.get_running_loop().stop()
            await asyncio.Event().wait()

    coroutine = main()
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    loop.run_forever()
    coroutine.close()  # what collecting it does
    print("ready", flush=True)
    threading.Event().wait()
    """
    with run(program):
        server.wait(lambda: server.updates("status") == ["stopped"])


def test_the_handler_is_put_back_and_a_second_signal_ends_the_process_at_once():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit), stop_on_sigterm():  # noqa: PT012 - what its block does is the test
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == before
    assert rowcast.stop_on_sigterm is stop_on_sigterm
