"""The calendar's rules, to the second."""

import pytest

from payymo.certificates.model import (
    DAY_SECONDS,
    CertificatePolicy,
    CertificateVersion,
    ServerCredential,
    State,
    activation_of,
    is_due,
    is_over,
    warning_of,
)

NOW = 1_800_000_000
POLICY = CertificatePolicy(activate_before_seconds=7 * DAY_SECONDS, overlap_seconds=DAY_SECONDS, is_production=False)


def version(
    state: State = "active",
    *,
    begin: int = NOW,
    end: int = NOW + 90 * DAY_SECONDS,
    activates_at: int | None = None,
    retires_at: int | None = None,
    is_development: bool = False,
) -> CertificateVersion:
    return CertificateVersion(
        "web",
        1,
        "server",
        state,
        is_development,
        "pin",
        NOW,
        chain_pem="",
        not_before=begin,
        not_after=end,
        activates_at=activates_at,
        retires_at=retires_at,
    )


@pytest.mark.parametrize(("offset", "valid"), [(-1, False), (0, True), (1, True)])
def test_valid_from_its_first_second(offset: int, *, valid: bool) -> None:
    """RFC 5280 §4.1.2.5."""
    assert version().is_valid_at(NOW + offset) is valid


@pytest.mark.parametrize(("offset", "valid"), [(-1, True), (0, True), (1, False)])
def test_valid_through_its_last_second(offset: int, *, valid: bool) -> None:
    """RFC 5280 §4.1.2.5: the end belongs to it."""
    found = version()
    assert found.not_after is not None
    assert found.is_valid_at(found.not_after + offset) is valid
    assert found.has_expired_at(found.not_after + offset) is not valid


def test_a_successor_takes_over_a_week_before_the_end() -> None:
    """Unless it is valid later, or there is nothing to take over from, or only something for development."""
    active = version(end=NOW + 90 * DAY_SECONDS)
    for before, begin, is_development, wanted in (
        (active, NOW - 60, False, NOW + 83 * DAY_SECONDS),
        (active, NOW + 85 * DAY_SECONDS, False, NOW + 85 * DAY_SECONDS),
        (version(end=NOW + 6 * DAY_SECONDS), NOW - 60, False, NOW),
        (None, NOW - 60, False, NOW),
        (None, NOW + 60, False, NOW + 60),
        (version(is_development=True), NOW - 60, False, NOW),
        (version(is_development=True), NOW - 60, True, NOW + 83 * DAY_SECONDS),
    ):
        assert activation_of(begin, before, NOW, is_development=is_development, policy=POLICY) == wanted


@pytest.mark.parametrize(("offset", "due"), [(-1, False), (0, True), (1, True)])
def test_a_successor_is_due_at_its_time(offset: int, *, due: bool) -> None:
    """Not a second before."""
    assert is_due(version("next", activates_at=NOW + 60), version(), NOW + 60 + offset, POLICY) is due


@pytest.mark.parametrize(("offset", "due"), [(-1, False), (0, False), (1, True)])
def test_a_successor_is_due_when_the_active_one_has_expired(offset: int, *, due: bool) -> None:
    """Whatever its time is: nothing else is valid any more."""
    active = version(end=NOW + 60)
    assert is_due(version("next", activates_at=NOW + 900), active, NOW + 60 + offset, POLICY) is due


def test_what_is_not_valid_is_never_due() -> None:
    """Nor is a development certificate in production."""
    assert not is_due(version("next", begin=NOW + 1, activates_at=NOW), None, NOW, POLICY)
    assert not is_due(version("next", end=NOW - 1, begin=NOW - 9, activates_at=NOW), None, NOW, POLICY)
    production = CertificatePolicy(0, 60, is_production=True)
    assert not is_due(version("next", activates_at=NOW, is_development=True), None, NOW, production)
    assert is_due(version("next", activates_at=NOW), None, NOW, production)


@pytest.mark.parametrize(("offset", "over"), [(-1, False), (0, True), (1, True)])
def test_a_retiring_version_is_over_at_the_end_of_the_overlap(offset: int, *, over: bool) -> None:
    """To the second."""
    assert is_over(version("retiring", retires_at=NOW + 60), NOW + 60 + offset) is over


@pytest.mark.parametrize(("offset", "over"), [(-1, False), (0, False), (1, True)])
def test_what_has_expired_without_being_in_use_is_over(offset: int, *, over: bool) -> None:
    """A next one, and a retiring one before the end of its overlap; the active one stays until somebody follows."""
    end = NOW + 60
    assert is_over(version("next", end=end), end + offset) is over
    assert is_over(version("retiring", end=end, retires_at=NOW + 900), end + offset) is over
    assert not is_over(version("active", end=end), end + offset)


@pytest.mark.parametrize(
    ("left", "wanted"),
    [
        (30 * DAY_SECONDS + 1, None),
        (30 * DAY_SECONDS, 30),
        (7 * DAY_SECONDS + 1, 30),
        (7 * DAY_SECONDS, 7),
        (DAY_SECONDS + 1, 7),
        (DAY_SECONDS, 1),
        (0, 1),
        (-1, 0),
    ],
)
def test_the_thresholds_to_the_second(left: int, wanted: int | None) -> None:
    """30, 7 and 1 days ahead, and once it is over."""
    assert warning_of(version(end=NOW + left), None, NOW) == wanted


def test_a_longer_successor_silences_the_warning() -> None:
    """One that ends no later does not, and nothing does once it is over."""
    active = version(end=NOW + DAY_SECONDS)
    assert warning_of(active, version("next", end=NOW + DAY_SECONDS + 1), NOW) is None
    assert warning_of(active, version("next", end=NOW + DAY_SECONDS), NOW) == 1
    assert warning_of(version(end=NOW - 1), version("next", end=NOW + 9), NOW) == 0
    assert warning_of(version("retiring", end=NOW + 1), None, NOW) is None


def test_a_credential_hides_its_private_half() -> None:
    """It may end in a traceback."""
    shown = repr(ServerCredential(1, b"CHAIN", b"CANARY", NOW, is_development=False))
    assert "CANARY" not in shown
