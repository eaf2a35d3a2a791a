"""The data directory: what lies where, for everything that `hyvve up` starts.

- `<data>/postgres/`: the embedded PostgreSQL's files; `<data>/redis/`: the embedded Redis's append-only log
- `<data>/blobs/`: content (storage/blobs/local.py)
- `<data>/logs/`: what the launcher and PostgreSQL say
- `<data>/state.json`: what runs, for `hyvve status` and `hyvve down`; `<data>/lock`: held as long as it runs
- `/tmp/hyv-<hash>/`: sockets and Ray's session: short paths, nothing that must survive
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError


@dataclass(frozen=True, slots=True)
class DataDirectory:
    root: Path

    @classmethod
    def at(cls, path: Path) -> DataDirectory:
        """The directory at `path`, made absolute; nothing is created."""
        return cls(path.expanduser().resolve())

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def state(self) -> Path:
        return self.root / "state.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def runtime(self) -> Path:
        """Sockets live here and not in the data directory, because a socket's path may have 107 bytes, of which Ray
        and HAProxy use up to 80 themselves. The name is a hash of the data directory, so two of them never meet.
        """
        digest = hashlib.sha256(f"{os.getuid()}:{self.root}".encode()).hexdigest()[:8]
        return Path("/tmp") / f"hyv-{digest}"  # noqa: S108 - short on purpose; ours alone, see `create`

    @property
    def postgres_url(self) -> str:
        """Where the embedded PostgreSQL answers once it runs."""
        return f"postgresql+psycopg://postgres@/postgres?host={self.runtime / 'pg'}"

    @property
    def redis_url(self) -> str:
        """Where the embedded Redis answers once it runs."""
        return f"unix://{self.runtime / 'redis' / 's'}"

    def create(self) -> None:
        """Create the directories. Raises `ClusterError` where one cannot be created, written, or is another's."""
        for directory in (self.root, self.redis, self.logs):
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ClusterError(
                    f"the data directory {self.root} cannot be created ({error.strerror}); "
                    "set HYVVE_DATA_DIR to one that can",
                    subject=str(self.root),
                ) from error
            if not os.access(directory, os.W_OK | os.X_OK):
                raise ClusterError(
                    f"the data directory {directory} is not writable by this user; set HYVVE_DATA_DIR to one that is",
                    subject=str(directory),
                )
        self._create_runtime()

    def _create_runtime(self) -> None:
        runtime = self.runtime
        # As root, PostgreSQL runs as a user of its own that must pass through; what others must not reach lies in
        # subdirectories of mode 700.
        mode = 0o711 if os.geteuid() == 0 else 0o700
        try:
            runtime.mkdir(mode=mode, exist_ok=True)
            entry = runtime.lstat()
            if entry.st_uid != os.geteuid() or not runtime.is_dir() or runtime.is_symlink():
                raise ClusterError(
                    f"{runtime} belongs to another user and Hyvve needs it for its sockets: remove it",
                    subject=str(runtime),
                )
            runtime.chmod(mode)
            for name in ("ha", "ray", "redis"):
                (runtime / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ClusterError(
                f"{runtime} cannot be created for sockets ({error.strerror}); make /tmp writable", subject=str(runtime)
            ) from error

    def forget_runtime(self) -> None:
        """Remove what is empty of the runtime directory: all of it, once nothing runs and Ray left no logs."""
        for directory in (*(self.runtime / name for name in ("ha", "ray", "redis", "pg")), self.runtime):
            with contextlib.suppress(OSError):
                directory.rmdir()
