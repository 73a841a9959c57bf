"""Events of one's own account, in words that need no manual."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from payymo.audit.entries import Entry, shown_to

_SENTENCES: Final[Mapping[str, str]] = {
    "user.registered": "You registered.",
    "user.created": "The account was made for you.",
    "user.invited": "You were invited.",
    "user.imported": "The account came from another system.",
    "user.status-changed": "An administrator enabled or disabled the account.",
    "user.roles-changed": "An administrator changed your roles.",
    "user.password-changed": "The password was changed.",
    "user.password-reset": "The password was replaced with a link from a mail.",
    "user.reset-requested": "Somebody asked for a link to replace the password.",
    "user.reset-forced": "An administrator made the password worthless.",
    "user.unlocked": "Signing in is possible again.",
    "user.email-verified": "The e-mail address was verified.",
    "user.email-change-requested": "A link was sent to a new e-mail address.",
    "user.email-changed": "The e-mail address was changed.",
    "user.exported": "Everything that is stored about you was exported.",
    "session.login": "You signed in.",
    "session.confirmed": "You gave your password again.",
    "session.logout": "You signed out.",
    "session.logout-everywhere": "You signed out everywhere.",
    "session.ended": "A session of yours was ended.",
    "session.all-ended": "An administrator ended all of your sessions.",
    "session.others-ended": "All of your other sessions were ended.",
    "session.impersonated": "An administrator began to act as you.",
    "session.impersonation-ended": "An administrator stopped acting as you.",
    "token.revoked": "An access token was revoked.",
}
_REFUSALS: Final[Mapping[str, str]] = {
    "session.login": "Somebody tried to sign in with a wrong password.",
    "session.confirmed": "A wrong password was given by somebody who was signed in.",
    "session.refresh": "A session was refused: it had ended, or its token was used twice.",
    "session.impersonated": "An administrator tried to act as you.",
    "user.password-changed": "Somebody tried to change the password, and gave a wrong one.",
    "user.email-change-requested": "Somebody tried to change the e-mail address, and gave a wrong password.",
    "permission.required": "Something was refused, because you may not do it.",
}
_ABOUT_ACTING: Final = ("session.impersonated", "session.impersonation-ended")


@dataclass(frozen=True, slots=True)
class Line:
    """One event. `at`: seconds since 1970."""

    sentence: str
    at: float
    address: str
    user_agent: str
    is_warning: bool


def tell(entry: Entry, user_id: UUID) -> Line:
    """What an event means to whom it happened, with what of it is theirs to see."""
    record, own = entry.record, shown_to(entry, user_id) or {}
    is_refused = record.outcome != "success"
    known = _REFUSALS if is_refused else _SENTENCES
    sentence = known.get(record.type) or record.type.replace(".", ": ").replace("-", " ").capitalize() + "."
    if "on_behalf_of" in record.about and record.type not in _ABOUT_ACTING:
        sentence += " It was an administrator, acting as you."
    return Line(sentence, record.at_ms / 1000, str(own.get("address", "")), str(own.get("user_agent", "")), is_refused)
