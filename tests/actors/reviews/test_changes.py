"""Differences: what a record says changed is what changed, once, and the same each time."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.errors import ReviewEditError
from actors.reviews.changes import changes, same

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["a", "b", 0.5, 1.0]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "c d", "e'f"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1}, {"a": True}, [("$.a", "changed", 1, True)]),
        ({"a": None}, {}, [("$.a", "removed", None, None)]),
        ({}, {"a b": None}, [("$['a b']", "added", None, None)]),
        ({"b": 1, "a": 1}, {"a": 2, "b": 2}, [("$.a", "changed", 1, 2), ("$.b", "changed", 1, 2)]),
        ({"l": [1, 2, 3]}, {"l": [0, 1, 2, 3]}, [("$.l[0]", "added", None, 0)]),
        ({"l": [1, 2, 3]}, {"l": [1, 3]}, [("$.l[1]", "removed", 2, None)]),
        ({"l": [{"t": 1}, 5]}, {"l": [{"t": 2}, 5]}, [("$.l[0].t", "changed", 1, 2)]),
        ({"a": {"b": 1}}, {"a": [1]}, [("$.a", "changed", {"b": 1}, [1])]),
        ("a", "b", [("$", "changed", "a", "b")]),
    ],
)
def test_each_difference_is_named_once_with_its_path(before: Any, after: Any, expected: Any) -> None:
    assert [(each.path, each.kind, each.before, each.after) for each in changes(before, after)] == expected


def test_a_payload_too_deep_to_compare_is_refused() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(ReviewEditError, match="deeper"):
        changes(deep, 1)


@given(JSON, JSON)
def test_there_are_differences_exactly_where_values_differ(before: Any, after: Any) -> None:
    found = changes(before, after)
    assert bool(found) != same(before, after)
    assert len({each.path for each in found}) == len(found)
    back = changes(after, before)
    assert len(back) == len(found)
    assert sorted((str(each.before), str(each.after)) for each in found) == sorted(
        (str(each.after), str(each.before)) for each in back
    )


@given(JSON)
def test_a_value_is_the_same_as_itself(value: Any) -> None:
    assert changes(value, value) == ()
