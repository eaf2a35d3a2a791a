"""Amounts of money, which are integers in a chain's smallest unit."""

from __future__ import annotations

_COIN = 10**8


def coins(amount: int) -> str:
    """An amount of octas in coins, without a float: 25000000 is 0.25."""
    whole, rest = divmod(amount, _COIN)
    return f"{whole:,}.{rest:08d}".rstrip("0").rstrip(".")
