"""Forms of real public models: what rules alone get right does not fall below what they have reached."""

import pytest

from actors.reviews.forms.models import FieldClass
from tests.benchmarks.bench_forms import LEAST_CLASSES, LEAST_MAPPED, LEAST_MODELS
from tests.benchmarks.model_facts import measured, models


def test_the_facts_are_many_and_each_says_where_it_is_from() -> None:
    every = models()
    assert len({model.name for model in every}) == len(every) >= LEAST_MODELS
    assert all(model.source and model.fields for model in every)
    assert min(sum(model.held_out for model in every), sum(not model.held_out for model in every)) >= LEAST_MODELS * 0.4


@pytest.mark.parametrize("held_out", [False, True], ids=["tuned on", "held out"])
def test_a_person_would_say_the_same_of_nearly_all_fields_and_files(held_out: bool) -> None:
    accuracy = measured(model for model in models() if model.held_out is held_out)
    missed = "\n".join(accuracy.misses)
    assert accuracy.classes >= LEAST_CLASSES, missed
    assert accuracy.mapped[True] / accuracy.mapped.total() >= LEAST_MAPPED, missed
    # A user is asked for what is theirs, and what the author chose is left alone.
    for name in (FieldClass.CONTENT, FieldClass.CONFIG):
        right, every = accuracy.of_class(name)
        assert right / every >= LEAST_CLASSES, missed
