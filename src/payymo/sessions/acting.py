"""Acting as somebody else in a browser: a second cookie beside the administrator's own, and worth nothing without it.

Both are asked for on every page, so that it is over when the administrator's session is. Both are others after every
change of who somebody is.
"""

import uuid
from dataclasses import dataclass

from payymo.db.work import Transaction, Work
from payymo.logs import Trace
from payymo.roles.service import Actor
from payymo.sessions.beginning import Begun
from payymo.sessions.browser import Browser, Cookie, Visitor
from payymo.sessions.browsers import Browsers
from payymo.sessions.impersonation import Impersonation, Wish


@dataclass(frozen=True, slots=True)
class Cookies:
    """What stands for the administrator's own session from now on, and for the one in which they act."""

    own: Cookie
    acting: Cookie


class Acting:
    """The browsers in which somebody acts as somebody else."""

    def __init__(self, work: Work, *, browsers: Browsers, impersonation: Impersonation) -> None:
        self._work = work
        self._browsers = browsers
        self._impersonation = impersonation

    def begin(self, own: Browser, user_id: uuid.UUID, *, why: str, by: Actor, trace: Trace) -> Cookies:
        """Act as a user, in this browser. Whether the password was given lately is asked at the door.

        Raises what `Impersonation.begin` raises.
        """

        def inside(tx: Transaction, begun: Begun) -> Cookies:
            replaced = self._browsers.replace_cookie(tx, own, proven_at=own.proven_at)
            return Cookies(replaced, self._browsers.add(tx, begun))

        wish = Wish(user_id, by, own.session_id, why, trace)
        _, made = self._impersonation.begin(own.tenant_id, wish, proof=None, access_seconds=0, inside=inside)
        return made

    def find(self, own: Visitor, text: str) -> Visitor | None:
        """As whom somebody acts; None: as nobody, or not any more."""
        return self._browsers.find(text, actor=own)

    def stop(self, acting: Browser, own: Browser, *, trace: Trace) -> Cookie | None:
        """Be oneself again: the cookie that stands for one's own session from now on. None: it was over already.

        Raises InvalidToken.
        """
        with self._work(own.tenant_id) as tx:
            if not self._impersonation.stop_in(tx, acting.user_id, acting.session_id, trace=trace):
                return None
            return self._browsers.replace_cookie(tx, own, proven_at=own.proven_at)
