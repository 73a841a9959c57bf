"""Who may change something, asked by who changes it: packages that know no users are handed a `Permit`."""

from collections.abc import Callable

from payymo.db.work import Transaction

Permit = Callable[[Transaction], object]
"""Asks, inside of the transaction that changes something, whether they may who want it. Raises when they may not."""


def permit_operator(tx: Transaction) -> None:
    """The operator at the command line may do everything."""
    del tx
