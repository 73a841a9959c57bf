"""Events of one's own account, in words that need no manual."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from payymo.audit.entries import Entry, shown_to
from payymo.phrases import Phrase

SENTENCES: Final[Mapping[str, str]] = {
    "user.registered": Phrase("You registered."),
    "user.created": Phrase("The account was made for you."),
    "user.invited": Phrase("You were invited."),
    "user.imported": Phrase("The account came from another system."),
    "user.status-changed": Phrase("An administrator enabled or disabled the account."),
    "user.roles-changed": Phrase("An administrator changed your roles."),
    "user.password-changed": Phrase("The password was changed."),
    "user.password-reset": Phrase("The password was replaced with a link from a mail."),
    "user.reset-requested": Phrase("Somebody asked for a link to replace the password."),
    "user.reset-forced": Phrase("An administrator made the password worthless."),
    "user.unlocked": Phrase("Signing in is possible again."),
    "user.email-verified": Phrase("The e-mail address was verified."),
    "user.email-change-requested": Phrase("A link to a new e-mail address was asked for."),
    "user.email-changed": Phrase("The e-mail address was changed."),
    "user.exported": Phrase("Everything that is stored about you was exported."),
    "session.login": Phrase("You signed in."),
    "session.confirmed": Phrase("You gave your password again."),
    "session.logout": Phrase("You signed out."),
    "session.logout-everywhere": Phrase("You signed out everywhere."),
    "session.ended": Phrase("A session of yours was ended."),
    "session.all-ended": Phrase("An administrator ended all of your sessions."),
    "session.others-ended": Phrase("All of your other sessions were ended."),
    "session.impersonated": Phrase("An administrator began to act as you."),
    "session.impersonation-ended": Phrase("An administrator stopped acting as you."),
    "token.revoked": Phrase("An access token was revoked."),
    "login.told": Phrase("A mail told you that somebody tries passwords."),
    "audit.disclosed": Phrase("What is personal in an event about you was handed out, with a proof of it."),
}
REFUSALS: Final[Mapping[str, str]] = {
    "session.login": Phrase("Somebody tried to sign in with a wrong password."),
    "session.confirmed": Phrase("A wrong password was given by somebody who was signed in."),
    "session.refresh": Phrase("A session was refused: it had ended, or its token was used twice."),
    "session.impersonated": Phrase("An administrator tried to act as you."),
    "user.password-changed": Phrase("Somebody tried to change the password, and gave a wrong one."),
    "user.email-change-requested": Phrase("Somebody tried to change the e-mail address, and gave a wrong password."),
    "login.waits": Phrase("Too many wrong passwords were tried. Whoever tries has to wait."),
    "login.stopped": Phrase(
        "Far too many wrong passwords were tried. Whoever tries is refused until the account is unlocked."
    ),
    "permission.required": Phrase("Something was refused, because you may not do it."),
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
    known = REFUSALS if is_refused else SENTENCES
    sentence = known.get(record.type) or record.type.replace(".", ": ").replace("-", " ").capitalize() + "."
    if "on_behalf_of" in record.about and record.type not in _ABOUT_ACTING:
        sentence = Phrase.joined((sentence, Phrase("It was an administrator, acting as you.")))
    return Line(sentence, record.at_ms / 1000, str(own.get("address", "")), str(own.get("user_agent", "")), is_refused)
