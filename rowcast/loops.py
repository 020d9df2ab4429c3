"""tqdm's loops, reported: `tqdm` and `trange` to import instead, and `patch_tqdm` for code that nobody edits.

A bar is a stage where none is under way, else nested in the one that is. It reports for the job in whose block it is
made; outside of any it reports nothing. It never raises for its reporting's sake.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from rowcast import rows
from rowcast.errors import RowcastError
from rowcast.report import CURRENT, Run

T = TypeVar("T")


class _Link:
    """A bar's run, if there is a job."""

    def __init__(self, desc: object, total: object, initial: float) -> None:
        self.n = 0  # reported
        self.looping = False  # over the bar's items: then the loop closes it
        self._run: Run | None = None
        job = CURRENT.get()
        if job is not None:
            with suppress(RowcastError):  # a job that has ended takes nothing
                self._run = Run(job, _stage(desc), _whole(total), nests=True)
                self.to(initial)

    def to(self, n: float) -> None:
        """``n`` are done in all; fewer than before is no news."""
        if self._run is not None and (more := int(n) - self.n) > 0:
            self.n += more
            try:  # suppress() would cost as much as all the rest
                self._run.step(more)
            except RowcastError:
                self._run = None

    def retotal(self, total: object) -> None:
        self._tell(lambda run: run.retotal(_whole(total)))

    def say(self, text: object) -> None:
        self._tell(lambda run: run.say(None if text is None else str(text)))

    def close(self, *, over: bool) -> None:
        if over:
            self._tell(Run.exhausted)
        if self._run is not None:
            self._run.close()
            self._run = None

    def _tell(self, what: Callable[[Run], None]) -> None:
        if self._run is not None:
            with suppress(RowcastError):
                what(self._run)


class tqdm(Generic[T]):  # noqa: N801 - the name is what makes it a drop-in
    """A drop-in for ``tqdm.tqdm``: its arguments and methods, drawing nothing. What only changes how a bar looks is
    taken and ignored."""

    def __init__(
        self, iterable: Iterable[T] | None = None, desc: str | None = None, total: float | None = None, *_: object,
        disable: bool | None = False, initial: float = 0, **__: object,
    ) -> None:  # fmt: skip
        self.iterable = iterable
        self.desc = desc or ""
        self.total = len(iterable) if total is None and isinstance(iterable, Sized) else total
        self.n = initial
        self.disable = bool(disable)
        self._link = _Link(desc, self.total, initial)

    def __iter__(self) -> Iterator[T]:
        if self.iterable is None:
            raise TypeError("this bar was made without an iterable: call update(), or give it one")
        try:
            for item in self.iterable:
                yield item
                self.update()
            self.total = self.n if self.total is None else self.total
        finally:
            self.close()

    def __len__(self) -> int:
        return len(self.iterable) if isinstance(self.iterable, Sized) else int(self.total or 0)

    def __bool__(self) -> bool:
        return self.total is None or self.total > 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def update(self, n: float | None = 1) -> None:
        self.n += 1 if n is None else n
        self._link.to(self.n)

    def close(self) -> None:
        self._link.close(over=self.total is not None and self.n >= self.total)

    def __del__(self) -> None:
        """One that is never closed ends with the function that made it, as tqdm's do."""
        if hasattr(self, "_link"):
            self.close()

    def reset(self, total: float | None = None) -> None:
        """Begins anew."""
        self._link.close(over=True)
        self.n, self.total = 0, self.total if total is None else total
        self._link = _Link(self.desc or None, self.total, 0)

    def refresh(self, *_: object, **__: object) -> None:
        """Reports ``n`` and ``total`` as they were set."""
        self._link.to(self.n)
        self._link.retotal(self.total)

    def set_description(self, desc: str | None = None, refresh: bool | None = True) -> None:  # noqa: ARG002 - tqdm's
        self.desc = desc or ""
        self._link.say(desc)

    set_description_str = set_description

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None:  # noqa: ARG002 - tqdm's
        self._link.say(s)

    def set_postfix(
        self, ordered_dict: Mapping[str, object] | None = None, refresh: bool = True, **more: object
    ) -> None:
        told = {**(ordered_dict or {}), **more}
        self.set_postfix_str(", ".join(f"{name}={value}" for name, value in told.items()), refresh)

    def display(self, *_: object, **__: object) -> None: ...

    def clear(self, *_: object, **__: object) -> None: ...

    def unpause(self) -> None: ...

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:  # noqa: ARG003 - tqdm's
        print(s, file=file or sys.stdout, end=end)


def trange(*args: int, **options: Any) -> tqdm[int]:
    """``tqdm(range(*args), **options)``."""
    return tqdm(range(*args), **options)


class patch_tqdm:  # noqa: N801 - is called like a function
    """From now on the bars of the library tqdm report too, whoever makes them and however it was imported; they are
    drawn as before. Undone by `undo`, or at the end of a ``with`` block. Raises ImportError where there is no tqdm."""

    def __init__(self) -> None:
        from tqdm.std import tqdm as original

        self._class: Any = original
        self._before = {name: getattr(original, name) for name in ("__init__", "__iter__", "update", "close", "reset")}
        for name in self._before:
            setattr(original, name, getattr(self, f"_{name.strip('_')}")())

    def undo(self) -> None:
        """Twice is once."""
        for name, method in self._before.items():
            setattr(self._class, name, method)
        self._before = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()

    def _init(self) -> Callable[..., None]:
        before = self._before["__init__"]

        def init(bar: Any, iterable: Any = None, desc: Any = None, *args: Any, **options: Any) -> None:
            before(bar, iterable, desc, *args, **options)
            bar.rowcast_link = _Link(desc, getattr(bar, "total", None), getattr(bar, "n", 0))

        return init

    def _iter(self) -> Callable[[Any], Iterator[Any]]:
        before = self._before["__iter__"]

        def counted(bar: Any, link: _Link) -> Iterator[Any]:
            link.looping = True
            try:
                for item in before(bar):
                    yield item
                    link.to(link.n + 1)
                link.close(over=True)
            finally:
                link.close(over=False)

        def iterate(bar: Any) -> Iterator[Any]:
            link: _Link | None = getattr(bar, "rowcast_link", None)
            return counted(bar, link) if link is not None else iter(before(bar))

        return iterate

    def _update(self) -> Callable[..., Any]:
        before = self._before["update"]

        def update(bar: Any, n: float = 1) -> Any:
            shown = before(bar, n)
            link: _Link | None = getattr(bar, "rowcast_link", None)
            if link is not None:  # a bar that is disabled does not count itself
                link.to(link.n + n if bar.disable else bar.n)
            return shown

        return update

    def _close(self) -> Callable[[Any], None]:
        before = self._before["close"]

        def close(bar: Any) -> None:
            before(bar)
            link: _Link | None = getattr(bar, "rowcast_link", None)
            if link is not None and not link.looping:
                total = _whole(getattr(bar, "total", None))
                link.close(over=total is not None and link.n >= total)

        return close

    def _reset(self) -> Callable[..., None]:
        before = self._before["reset"]

        def reset(bar: Any, total: Any = None) -> None:
            before(bar, total)
            link: _Link | None = getattr(bar, "rowcast_link", None)
            if link is not None:
                link.close(over=True)
                bar.rowcast_link = _Link(getattr(bar, "desc", "").removesuffix(": ") or None, bar.total, 0)

        return reset


def _stage(desc: object) -> str | None:
    """A bar's description as a stage's name, which "complete" can't be."""
    name = rows.cut(str(desc or ""), rows.NAME_LIMIT).strip().removesuffix(":").strip()
    return None if name in ("", rows.COMPLETE) else name


def _whole(total: object) -> int | None:
    """tqdm takes fractions, and infinity for unknown."""
    if isinstance(total, int | float) and 0 <= total < float("inf"):
        return int(total)
    return None
