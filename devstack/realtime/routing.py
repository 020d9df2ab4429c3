"""Which channels hear of a change (pure).

Bindings are kept by table, and those with an `eq` filter by the value it wants, so that a change does not look at
every channel. Matching gives, for each channel, the bindings it matches; those whose filter only PostgreSQL can
answer come with the questions to ask.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from devstack.realtime import filters
from devstack.realtime.catalog import Condition, Question, Resolved

Subscriber = TypeVar("Subscriber", bound=Hashable)
Texts = Mapping[str, str | None]
"""Column texts by name; a column that is not in the change is absent."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry(Generic[Subscriber]):
    subscriber: Subscriber
    sequence: int
    """Orders the bindings of all subscribers: by time of subscription, then as the client listed them."""
    resolved: Resolved


@dataclass(frozen=True, slots=True)
class Match(Generic[Subscriber]):
    entry: Entry[Subscriber]
    questions: tuple[Question, ...] = ()
    """What PostgreSQL must affirm, every one."""


class Router(Generic[Subscriber]):
    """The subscriptions in force."""

    def __init__(self) -> None:
        self._sequence = 0
        self._entries: dict[Subscriber, list[Entry[Subscriber]]] = {}
        # By table, then by (column, value) of one eq condition; (None, None) for entries that have none.
        self._index: dict[int, dict[tuple[str | None, str | None], list[Entry[Subscriber]]]] = defaultdict(dict)

    def listens_to(self, table_oid: int) -> bool:
        return table_oid in self._index

    def add(self, subscriber: Subscriber, bindings: Iterable[Resolved]) -> None:
        """Let a subscriber hear these bindings, and no others any more."""
        self.remove(subscriber)
        entries = self._entries[subscriber] = []
        for resolved in bindings:
            self._sequence += 1
            entry = Entry(subscriber, self._sequence, resolved)
            entries.append(entry)
            self._index[resolved.table_oid].setdefault(_slot(resolved), []).append(entry)

    def remove(self, subscriber: Subscriber) -> None:
        for entry in self._entries.pop(subscriber, ()):
            oid, slot = entry.resolved.table_oid, _slot(entry.resolved)
            slots = self._index[oid]
            slots[slot].remove(entry)
            if not slots[slot]:
                del slots[slot]
            if not slots:
                del self._index[oid]

    def match(self, table_oid: int, action: str, new: Texts | None, old: Texts | None) -> list[Match[Subscriber]]:
        """The bindings that a change may interest, in order of their sequence.

        Args:
            new: the new row, None for a DELETE; only it is filtered on in the other actions.
            old: the old row's identity.
        """
        texts = new if new is not None else old or {}
        slots = self._index.get(table_oid)
        if not slots:
            return []
        found = list(slots.get((None, None), ()))
        if len(slots) > 1 or not found:
            for column, text in texts.items():
                found += slots.get((column, text), ())
        matches = [match for entry in found if (match := _match(entry, action, texts)) is not None]
        matches.sort(key=lambda match: match.entry.sequence)
        return matches


def _slot(resolved: Resolved) -> tuple[str | None, str | None]:
    for condition in resolved.conditions:
        if condition.value is not None:
            return condition.filter.column, condition.value
    return None, None


def _match(entry: Entry[Subscriber], action: str, texts: Texts) -> Match[Subscriber] | None:
    wanted = entry.resolved.binding.action
    if wanted not in {"*", action}:
        return None
    questions: list[Question] = []
    for condition in entry.resolved.conditions:
        column = condition.filter.column
        if column not in texts:
            return None
        if condition.test is None:
            questions.append(_question(condition, texts[column]))
        elif not condition.test(texts[column]):
            return None
    return Match(entry, tuple(questions))


def _question(condition: Condition, text: str | None) -> Question:
    expression = filters.sql(condition.filter, condition.type.sql)
    value = () if condition.filter.op == "is" else (condition.filter.value,)
    return Question(expression, (text, *value))
