"""What users are told of by mail, so that they notice what they did not do: steps in the transaction of the change."""

import uuid
from collections.abc import Iterable
from typing import Final

from payymo.clock import Clock
from payymo.db.work import Transaction
from payymo.limits.limiter import address_key
from payymo.mail.model import Kind, Message
from payymo.mail.outbox import Outbox
from payymo.sessions import store
from payymo.sessions.model import Device
from payymo.users.model import User

DEVICES_LOOKED_AT: Final = 500


class Notices:
    """Writes notices into the outbox."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock

    def tell(self, tx: Transaction, kind: Kind, user: User, **facts: str) -> None:
        """Step: tell a user, at the address that they have, or had until now."""
        facts["when"] = str(int(self._clock()))
        self._outbox.put(tx, Message(kind, user.email, facts, user_id=user.id, language=user.language))

    def tell_of_login(self, tx: Transaction, user: User, session_id: uuid.UUID, device: Device) -> None:
        """Step: tell a user of a session that was started from elsewhere. The first one of all is expected.

        What the device calls itself stays out of the letter: whoever has the password would choose words in it.
        """
        if not self._outbox.is_on:
            return
        known = store.list_devices(tx, user.id, but=session_id, count=DEVICES_LOOKED_AT)
        if known and not _is_among(device, known):
            self.tell(tx, "new-sign-in", user, address=device.address)


def _is_among(device: Device, known: Iterable[Device]) -> bool:
    """Whether this software has come from this network before."""
    network = address_key(device.address)
    return any(one.user_agent == device.user_agent and address_key(one.address) == network for one in known)
