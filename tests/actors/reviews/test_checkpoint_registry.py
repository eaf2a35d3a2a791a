"""A checkpoint of somebody else's: one file in a package, found by its entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.errors import BadCheckpointError, ReviewRuleError
from actors.reviews.checkpoints import registry

SOURCE = """
from actors.reviews.checkpoints.base import Checkpoint, Measured

class Mood(Checkpoint):
    name = "mood"
    title = "Is this a good day for it?"
    stands = "before_call"

    async def measure(self, moment):
        return Measured(stops="never on a Monday")

class Nameless(Mood):
    name = "other"
"""
Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """Puts the module and its entry point where installed packages are, and takes them away again."""

    def install(entry: str) -> None:
        (tmp_path / "moods.py").write_text(SOURCE)
        info = tmp_path / "moods-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moods\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{entry}\n")
        sys.path.insert(0, str(tmp_path))
        importlib.invalidate_caches()
        registry.forget_found()

    yield install
    sys.path[:] = [each for each in sys.path if each != str(tmp_path)]
    sys.modules.pop("moods", None)
    registry.forget_found()


def test_it_stands_beside_the_others_where_it_is_named(install: Install) -> None:
    install("mood = moods:Mood")
    assert "mood" in registry.names()
    assert [each.name for each in registry.opened([], {"mood": {}})] == [*registry.STANDARD, "mood"]
    assert "mood" not in [each.name for each in registry.opened([], {})], "nobody asked for it"
    with pytest.raises(ReviewRuleError):
        registry.opened(["mood"], {"mood": {"colour": "blue"}})


@pytest.mark.parametrize("entry", ["mood = moods:Nameless", "mood = moods:Absent", "mood = nowhere:Mood"])
def test_one_that_is_none_says_why(install: Install, entry: str) -> None:
    install(entry)
    with pytest.raises(BadCheckpointError) as caught:
        registry.opened(["mood"], {})
    assert caught.value.subject == "mood"
