"""`/operator/keys`: the life of the signing keys; rotate one, revoke one."""

from functools import partial
from typing import Final, Literal

from payymo.clock import Clock
from payymo.errors import NotFound
from payymo.keys.model import PURPOSES, Purpose, SigningKey, due_at, find_one
from payymo.keys.service import KeyRing
from payymo.phrases import Phrase
from payymo.roles.service import authority_of
from payymo.sessions.administration import Administration
from payymo.web.console.key_story import lives_of, picture_of
from payymo.web.console.pages import Answer, Onward, Sheet, page
from payymo.web.console.visit import Visit
from payymo.web.routing import Input

KEYS: Final = "/operator/keys"
_MEANINGS: Final[dict[Purpose, str]] = {
    "access": Phrase("Access tokens"),
    "refresh": Phrase("Refresh tokens"),
    "audit": Phrase("Heads of the audit logs"),
}
_AMONG: Final[dict[Purpose, str]] = {
    "access": Phrase("access tokens"),
    "refresh": Phrase("refresh tokens"),
    "audit": Phrase("heads of the audit logs"),
}
"""The same within a sentence: which letters are small there, each language says by itself."""


class RotateForm(Input):
    """How."""

    at_once: bool = False


class RevokeForm(Input):
    """What is said of the key, and what becomes of sessions."""

    compromised: Literal["yes"]
    keep_sessions: bool = False


class KeysDesk:
    """The signing keys of this deployment."""

    def __init__(
        self, *, ring: KeyRing, administration: Administration, clock: Clock, rotates_automatically: bool
    ) -> None:
        self._ring = ring
        self._administration = administration
        self._clock = clock
        self._rotates_automatically = rotates_automatically

    @page("GET", KEYS, permission="platform:read")
    def list_keys(self, visit: Visit) -> Answer:
        """Show which keys there are, and were lately."""
        facts = {
            "purposes": [self._tell(purpose) for purpose in PURPOSES],
            "may_write": visit.may("platform:write"),
            "rotates_automatically": self._rotates_automatically,
        }
        return Sheet("operator_keys.html", facts)

    def _tell(self, purpose: Purpose) -> dict[str, object]:
        keys = self._ring.list_ever(purpose)
        lives, active = lives_of(keys), find_one(keys, purpose, "active")
        return {
            "name": purpose,
            "meaning": _MEANINGS[purpose],
            "among": _AMONG[purpose],
            "lives": lives,
            "picture": picture_of(lives, int(self._clock())),
            "due_at": None if active is None else due_at(active, self._ring.calendar),
        }

    @page("GET", f"{KEYS}/<string:purpose>/rotate", permission="platform:read", is_dangerous=True)
    def show_rotate(self, visit: Visit, purpose: str) -> Answer:
        """Say what changes, and ask."""
        del visit
        wanted = _purpose(purpose)
        keys = self._ring.list_keys()
        facts = {
            "name": wanted,
            "among": _AMONG[wanted],
            "active": find_one(keys, wanted, "active"),
            "following": find_one(keys, wanted, "next"),
        }
        return Sheet("operator_key_rotate.html", facts)

    @page(
        "POST",
        f"{KEYS}/<string:purpose>/rotate",
        permission="platform:write",
        is_dangerous=True,
        refused="show_rotate",
    )
    def rotate(self, visit: Visit, purpose: str, form: RotateForm) -> Answer:
        """Let the next key sign from now on."""
        caller = visit.caller
        permit = partial(authority_of, caller.actor)
        self._ring.rotate(_purpose(purpose), at_once=form.at_once, permit=permit, trace=caller.trace)
        return Onward(KEYS, "key-rotated")

    @page("GET", f"{KEYS}/<string:kid>/revoke", permission="platform:read", is_dangerous=True)
    def show_revoke(self, visit: Visit, kid: str) -> Answer:
        """Say what ends, and ask."""
        del visit
        return Sheet("operator_key_revoke.html", {"key": self._find(kid)})

    @page("POST", f"{KEYS}/<string:kid>/revoke", permission="platform:write", is_dangerous=True, refused="show_revoke")
    def revoke(self, visit: Visit, kid: str, form: RevokeForm) -> Answer:
        """Refuse at once whatever a key has signed, and destroy it. This session ends, too, unless sessions live on."""
        caller, key = visit.caller, self._find(kid)
        self._administration.revoke_key(key.kid, keep_sessions=form.keep_sessions, by=caller.actor, trace=caller.trace)
        return Onward(KEYS, "key-revoked")

    def _find(self, kid: str) -> SigningKey:
        """A key that does something, or was revoked: a run that broke off is gone on with. Raises NotFound."""
        keys = (key for purpose in PURPOSES for key in self._ring.list_ever(purpose))
        found = next((key for key in keys if key.kid == kid and key.state != "retired"), None)
        if found is None:
            raise NotFound("There is no such key.")
        return found


def _purpose(text: str) -> Purpose:
    found = next((purpose for purpose in PURPOSES if purpose == text), None)
    if found is None:
        raise NotFound
    return found
