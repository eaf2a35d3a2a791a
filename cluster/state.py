"""What the supervisor of a data directory says about itself: read by `hyvve status`, `hyvve down` and the viewer.

The file may be stale after a power loss; the lock beside it is the truth about whether something runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

# Exit code of a supervisor that found another one at work.
ALREADY_RUNNING = 3
# What the watching command writes before it leaves the supervisor to itself.
LET_GO = b"let go\n"

Phase = Literal["starting", "ready", "stopping", "stopped", "failed"]


class State(BaseModel):
    model_config = ConfigDict(frozen=True)

    phase: Phase
    # The supervisor's identity; a recycled pid has another creation time.
    pid: int
    create_time: float
    started_at: str
    # What is being started, or what became of it; a failure's sentence.
    steps: dict[str, str] = {}
    # What is wrong while it runs, by part.
    troubles: dict[str, str] = {}
    # How often Ray and the API were started anew by this supervisor.
    restarts: int = 0
    # By which settings it judges (`judging.described`), once it is ready.
    judges_by: dict[str, str] = {}
    error: str | None = None
    traceback: str | None = None
    api_url: str | None = None
    dashboard_url: str | None = None
    ray_address: str | None = None
    # Whether the Ray is one that we joined, and therefore leave running.
    joined: bool = False
    embedded_postgres: bool = True
    embedded_redis: bool = True
    ray_logs: str | None = None

    def write(self, path: Path) -> None:
        """Replace the file at once, so that a reader never sees half of it."""
        fresh = path.with_suffix(".new")
        fresh.write_text(self.model_dump_json(indent=1))
        fresh.replace(path)

    @classmethod
    def read(cls, path: Path) -> State | None:
        """The state on record; `None` where there is none, or none that this version can read."""
        try:
            return cls.model_validate(json.loads(path.read_text()))
        except (OSError, ValueError, ValidationError):
            return None
