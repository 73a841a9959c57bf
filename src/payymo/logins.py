"""How people are logged in, built: by tokens, in browsers, and as somebody else."""

from dataclasses import dataclass

from payymo.parts import Accounts, Ground, Owners
from payymo.policies import browser_policy, impersonation_policy, refresh_policy
from payymo.sessions.acting import Acting
from payymo.sessions.browsers import Browsers
from payymo.sessions.impersonation import Impersonation
from payymo.sessions.service import Sessions
from payymo.tokens import refresh_verifier


@dataclass(frozen=True, slots=True)
class Logins:
    """The sessions, as each kind of client has them."""

    sessions: Sessions
    browsers: Browsers
    impersonation: Impersonation
    acting: Acting


def logins_of(ground: Ground, owners: Owners, accounts: Accounts) -> Logins:
    """All of them."""
    browsers, impersonation = _browsers(ground, owners, accounts), _impersonation(ground, owners, accounts)
    acting = Acting(ground.work, browsers=browsers, impersonation=impersonation)
    return Logins(_sessions(ground, owners, accounts), browsers, impersonation, acting)


def _sessions(ground: Ground, owners: Owners, accounts: Accounts) -> Sessions:
    return Sessions(
        ground.work,
        ground.clock,
        beginning=accounts.beginning,
        roles=owners.roles,
        minter=owners.minter,
        refresh_verifier=refresh_verifier(owners.minter.policy, owners.ring, ground.clock),
        revocations=owners.revocations,
        policy=refresh_policy(ground.settings),
        audit=ground.audit,
    )


def _browsers(ground: Ground, owners: Owners, accounts: Accounts) -> Browsers:
    return Browsers(
        ground.work,
        ground.clock,
        ground.entropy,
        beginning=accounts.beginning,
        users=owners.users,
        roles=owners.roles,
        policy=browser_policy(ground.settings),
        audit=ground.audit,
    )


def _impersonation(ground: Ground, owners: Owners, accounts: Accounts) -> Impersonation:
    return Impersonation(
        ground.work,
        ground.clock,
        ground.entropy,
        users=owners.users,
        roles=owners.roles,
        credentials=accounts.credentials,
        beginning=accounts.beginning,
        minter=owners.minter,
        revocations=owners.revocations,
        notices=accounts.notices,
        policy=impersonation_policy(ground.settings),
        audit=ground.audit,
    )
