"""How one-time links are used: for a user who is locked, if what they were made for is still so."""

from payymo.db.work import Transaction
from payymo.links.model import Link, LinkKind
from payymo.links.service import Links
from payymo.users.model import Account
from payymo.users.service import Users


def look_up(tx: Transaction, links: Links, users: Users, token: str, kind: LinkKind) -> Account | None:
    """Step: whose link it is, if it would be redeemed now. It is not used up."""
    link = links.find(tx, token, kind)
    account = None if link is None else users.find_account(tx, link.user_id)
    return account if link is not None and account is not None and _is_good(link, account) else None


def redeem(tx: Transaction, links: Links, users: Users, token: str, kind: LinkKind) -> tuple[Account, Link] | None:
    """Step: use a link up. Answers whose it was, locked, and the link; None: it is not good.

    The token alone decides whose account it is about. The user is locked first, as everywhere, and then the link.
    """
    found = links.find(tx, token, kind)
    account = None if found is None else users.lock_account(tx, found.user_id)
    link = None if account is None else links.use(tx, token, kind)
    if link is None or account is None or not _is_good(link, account):
        return None
    return account, link


def _is_good(link: Link, account: Account) -> bool:
    return account.may_act and link.is_bound_to(*account.binding)
