"""Who hears of a change."""

from devstack.realtime.bindings import Binding
from devstack.realtime.catalog import Condition, Resolved, Type
from devstack.realtime.filters import Filter, compile_filter
from devstack.realtime.routing import Router

TABLE = 16385
UUID = Type("uuid", "uuid")


def bound(number: int, *filters: Filter, action: str = "*", type_: Type = UUID) -> Resolved:
    conditions = tuple(
        Condition(
            f, type_, compile_filter(f, type_.name, [f.value]), f.value if f.op == "eq" and type_ is UUID else None
        )
        for f in filters
    )
    return Resolved(Binding(number, action, "public", "jobs", filters), TABLE, conditions)


def heard(
    router: Router[str], action: str, new: dict[str, str | None] | None, old: dict[str, str | None] | None = None
) -> list[tuple[str, int]]:
    matches = router.match(TABLE, action, new, old)
    return [(match.entry.subscriber, match.entry.resolved.binding.id) for match in matches]


def test_bindings_of_a_subscriber_come_in_their_order_whatever_their_filter() -> None:
    router: Router[str] = Router()
    router.add("a", [bound(1, Filter("p", "eq", "x")), bound(2), bound(3, Filter("p", "eq", "x"))])
    router.add("b", [bound(4, Filter("p", "eq", "y")), bound(5, action="DELETE")])
    assert heard(router, "INSERT", {"p": "x"}) == [("a", 1), ("a", 2), ("a", 3)]
    assert heard(router, "INSERT", {"p": "y"}) == [("a", 2), ("b", 4)]
    assert heard(router, "DELETE", None, {"id": "1"}) == [("a", 2), ("b", 5)]


def test_filters_fail_closed() -> None:
    router: Router[str] = Router()
    router.add("a", [bound(1, Filter("p", "neq", "x")), bound(2, Filter("gone", "is", "null"))])
    assert heard(router, "INSERT", {"p": None}) == []
    assert heard(router, "UPDATE", {"p": "y"}, {"p": "x"}) == [("a", 1)]


def test_an_update_is_filtered_by_its_new_row_alone() -> None:
    router: Router[str] = Router()
    router.add("a", [bound(1, Filter("p", "eq", "x"))])
    assert heard(router, "UPDATE", {"p": "y"}, {"p": "x"}) == []
    assert heard(router, "UPDATE", {"p": "x"}, {"p": "y"}) == [("a", 1)]


def test_every_filter_of_a_binding_must_pass_and_some_are_asked_of_postgresql() -> None:
    router: Router[str] = Router()
    router.add("a", [bound(1, Filter("t", "like", "a%"), type_=Type("text", "text"))])
    [match] = router.match(TABLE, "INSERT", {"t": "abc"}, None)
    [question] = match.questions
    assert question.parameters == ("abc", "a%")
    assert "LIKE" in question.expression


def test_a_new_subscription_replaces_the_old_and_none_leaves_nothing() -> None:
    router: Router[str] = Router()
    router.add("a", [bound(1)])
    router.add("a", [bound(2)])
    assert heard(router, "INSERT", {}) == [("a", 2)]
    router.remove("a")
    router.remove("a")
    assert not router.listens_to(TABLE)
    assert heard(router, "INSERT", {}) == []
