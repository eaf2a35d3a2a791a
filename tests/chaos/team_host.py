"""A host of team runs as a process of its own: all it shares with its test is what it was set up with."""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path

from actors.runs.host import RunHost
from actors.runs.kinds import RunSetup
from storage.runs import SHARDS


async def host(setup: RunSetup) -> None:
    driving = RunHost(setup, range(SHARDS))
    await driving.driving.wait()
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(host(pickle.loads(Path(sys.argv[1]).read_bytes())))
