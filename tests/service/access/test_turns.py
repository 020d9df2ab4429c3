"""Each asker's questions wait for their own, and for nobody else's."""

import asyncio

import pytest

from service.access.turns import Turns


class Asked:
    """Questions that are under way until they are let go on."""

    def __init__(self) -> None:
        self.turns = Turns(2)
        self.under_way: list[str] = []
        self.may_end = asyncio.Event()

    async def ask(self, who: str) -> None:
        async with self.turns.of(who):
            self.under_way.append(who)
            try:
                await self.may_end.wait()
            finally:
                self.under_way.remove(who)


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_who_asks_a_lot_does_not_keep_another_waiting() -> None:
    asked = Asked()
    flood = [asyncio.create_task(asked.ask("rude")) for _ in range(100)]
    await settled()
    other = asyncio.create_task(asked.ask("other"))
    await settled()
    assert sorted(asked.under_way) == ["other", "rude", "rude"]
    asked.may_end.set()
    await asyncio.gather(*flood, other)
    assert len(asked.turns) == 0


async def test_questions_that_are_given_up_leave_their_turn_to_others() -> None:
    asked = Asked()
    flood = [asyncio.create_task(asked.ask("rude")) for _ in range(5)]
    await settled()
    for task in flood:
        task.cancel()
    await asyncio.gather(*flood, return_exceptions=True)
    assert (asked.under_way, len(asked.turns)) == ([], 0)
    last = asyncio.create_task(asked.ask("rude"))
    await settled()
    assert asked.under_way == ["rude"]
    asked.may_end.set()
    await last


async def test_a_question_that_fails_ends_its_turn() -> None:
    turns = Turns(1)
    for _ in range(2):
        with pytest.raises(ValueError, match="down"):
            async with turns.of("one"):
                raise ValueError("down")
    assert len(turns) == 0
