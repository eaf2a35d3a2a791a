"""Ids we make ourselves: UUID version 7 (RFC 9562), which sort by time and so keep indexes dense."""

import os
import time
from datetime import datetime
from uuid import UUID


def new_id() -> UUID:
    """A fresh UUIDv7: 48 bits of unix milliseconds, then 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def first_id(moment: datetime) -> UUID:
    """What no UUIDv7 made at that moment or later is smaller than."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
