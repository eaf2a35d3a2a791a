"""All kinds of runs that this application has, on one page. A host opens them in its own process."""

from __future__ import annotations

from actors.runs.kinds import Kinds, RunSetup


def open_kinds(setup: RunSetup) -> Kinds:  # noqa: ARG001 - what kinds open, they open from the setup
    """The kinds, and what they hold open until the host ends."""
    return Kinds([])
