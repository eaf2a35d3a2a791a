"""All kinds of runs that this application has, on one page. A host opens them in its own process."""

from __future__ import annotations

from actors.runs.kinds import Kinds, RunSetup


def open_kinds(setup: RunSetup) -> Kinds:
    """The kinds, and what they hold open until the host ends."""
    # Whoever starts the hosts names this function, and should not load the models' clients for that.
    from actors.agents.kind import kind_of, open_workshop  # noqa: PLC0415

    workshop, close = open_workshop(setup.storage, setup.actors)
    return Kinds([kind_of(workshop)], close)
