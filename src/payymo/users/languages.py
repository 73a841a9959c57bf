"""In which language users are written to: what they have read pages in, or said when they registered."""

from payymo.db.work import Transaction, Work
from payymo.languages import Wish
from payymo.users import store
from payymo.users.model import User


def keep_language(tx: Transaction, user: User, wish: Wish) -> None:
    """Step: remember it. Nothing is written where it is known, as at nearly every sign-in."""
    code = wish.instead_of(user.language)
    if code is not None:
        store.set_language(tx, user.id, code)


class Languages:
    """What users say of themselves while they are signed in."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def keep(self, user: User, wish: Wish) -> None:
        """Remember in which language somebody would rather be written to."""
        if wish.instead_of(user.language) is not None:
            with self._work(user.tenant_id) as tx:
                keep_language(tx, user, wish)
