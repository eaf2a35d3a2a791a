"""All kinds of runs that this application has, on one page. A host opens them in its own process."""

from __future__ import annotations

from actors.runs.kinds import Kinds, RunSetup


def open_kinds(setup: RunSetup) -> Kinds:
    """The kinds, and what they hold open until the host ends."""
    # Whoever starts the hosts names this function, and should not load the models' clients for that.
    from actors.agents.kind import kind_of, open_workshop  # noqa: PLC0415
    from actors.reviews import contribution  # noqa: PLC0415
    from actors.reviews.teams import comparison  # noqa: PLC0415
    from actors.reviews.teams import kind as teams  # noqa: PLC0415
    from actors.verification.workplace import Setup, Workplace  # noqa: PLC0415

    workshop, close_workshop = open_workshop(setup.storage, setup.actors)
    reading = Workplace(Setup(storage=setup.storage, verification=setup.actors.verification))
    team_workshop, close_teams = teams.open_workshop(setup.storage, setup.actors)

    async def close() -> None:
        await close_teams()
        await close_workshop()
        await reading.close()

    of_teams = (teams.kind_of(team_workshop), comparison.kind_of(team_workshop))
    return Kinds([kind_of(workshop), contribution.kind_of(reading), *of_teams], close)
