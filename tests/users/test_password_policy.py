"""The rule for new passwords."""

import pytest

from payymo.errors import InvalidInput
from payymo.users import password_policy
from payymo.users.guessable import repeated_in, without_walks, without_words
from payymo.users.password_policy import PROFILES, SHORTEST, PasswordPolicy, password_problems
from tests.support.house import PASSWORD

WORDS = ("acme", "Acme Rockets Inc.", "auth.acme.example", "payymo")


def reasons(password: str, policy: PasswordPolicy | None = None) -> list[str]:
    """What is said to alice about a password."""
    found = password_problems(
        password, policy or PasswordPolicy(), email="alice.liddell@example.com", username="al1ce", words=WORDS
    )
    assert {problem.pointer for problem in found} <= {"/password"}
    return [problem.detail for problem in found]


@pytest.mark.parametrize(
    "password",
    [
        PASSWORD,
        "correct horse battery staple!",
        "пароль-для-проверки",
        "密码很长但容易记住的句子",
        "🦉 on the 🌲 by the 🏠",
        "another fine Passw0rd",
        "wonderland of acme",
    ],
)
def test_good_passwords_are_taken(password: str) -> None:
    """All of Unicode, and no kinds of characters are asked for."""
    assert reasons(password) == []


@pytest.mark.parametrize(
    ("length", "policy", "accepted"),
    [
        (11, PROFILES["standard"], False),
        (12, PROFILES["standard"], True),
        (128, PROFILES["standard"], True),
        (129, PROFILES["standard"], False),
        (14, PROFILES["strict"], False),
        (15, PROFILES["strict"], True),
    ],
)
def test_length_is_counted_in_code_points(length: int, policy: PasswordPolicy, *, accepted: bool) -> None:
    """12 to 128, whatever they weigh in UTF-8; 15 in the strict profile; after NFC."""
    word = "žluťoučký kůň, úpěl ďábelské ódy; nechť již hříšné saxofony rozezvučí síň. Lví otce dcer úžeh 🦉 vyňal? "
    text = (word + word[::-1])[:length]
    assert len(text) == length
    decomposed = text.replace("ž", "z\u030c")
    assert (reasons(text, policy) == []) is accepted
    assert (reasons(decomposed, policy) == []) is accepted


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("with a \x00 inside it", "control characters"),
        ("a line\nfeed inside", "control characters"),
        ("a lone \ud800 surrogate", "control characters"),
        ("password1234", "breached"),
        ("PASSWORD1234", "breached"),
        ("Alice.Liddell@Example.com", "your own"),
        ("alice-liddell-1", "your own"),
        ("99-al1ce-99!", "your own"),
        ("L1dd3ll-4l1c3", "your own"),
        ("lleddil-alice", "your own"),
        ("acme-acme-2024", "everybody here knows"),
        ("Payymo@ACME-07", "everybody here knows"),
        ("R0ck3ts-acme!", "everybody here knows"),
        ("alice-payymo-1", "everybody here knows"),
        ("🦉" * 12, "repeats itself"),
        ("Wunderbar-Wunderbar", "repeats itself"),
        ("sunny sunny sunny", "repeats itself"),
        ("žžžžžžžžžž9!", "repeats itself"),
        ("qwertzuiopü12", "neighbouring keys"),
        ("YXCVbnm,.-#1qay", "neighbouring keys"),
        ("zyxwvutsrqponm", "neighbouring keys"),
        ("йцукенгшщзхъ1", "neighbouring keys"),
        ("!QAZ@WSX#EDC$RFV-", "neighbouring keys"),
        ("acme-qwertz-4321", "neighbouring keys"),
        ("Summertime12!", "too easy to guess"),
    ],
)
def test_bad_passwords_are_refused_with_the_reason(password: str, reason: str) -> None:
    """Breached, made of names, words, repetitions or walks, or early in every guesser's order."""
    said = reasons(password)
    assert len(said) == 1, said
    assert reason in said[0]


def test_kinds_of_characters_are_asked_for_where_a_tenant_wants_them() -> None:
    """Off unless set; then all that is missing is said at once, and letters without case count as other signs."""
    policy = PasswordPolicy(complexity_classes=4)
    assert reasons("correct horse battery", policy) == [
        "4 kinds of characters are asked for here: add some of capitals, digits"
    ]
    assert reasons(PASSWORD, policy) == []
    assert reasons("密码很长但容易记住的句子", PasswordPolicy(complexity_classes=1)) == []


def test_the_shortest_that_a_policy_can_ask_for_is_on_the_list_of_breached_ones_or_free() -> None:
    """Known failure: a list that has nothing so short refuses all of them, and says that they were breached."""
    shortest = PasswordPolicy(min_length=SHORTEST, min_score=0)
    assert reasons("vK9#pqZ!w2", shortest) == []
    assert "breached" in reasons("iloveyou12", shortest)[0]


def test_the_tenant_adds_words_and_sets_the_score() -> None:
    """Words of the policy count like the tenant's own names; a score of 0 leaves the estimate away."""
    assert "everybody here knows" in reasons("Roadrunner-42!", PasswordPolicy(words=("roadrunner",)))[0]
    assert reasons("Summertime12!", PasswordPolicy(min_score=0)) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_length": 9},
        {"min_length": 65},
        {"max_length": 63},
        {"max_length": 257},
        {"min_score": 5},
        {"min_score": -1},
        {"complexity_classes": 5},
        {"words": ("ab",)},
        {"words": ("w" * 51,)},
        {"words": ("word",) * 101},
        {"words": ("two\nlines",)},
    ],
)
def test_a_policy_that_would_harm_is_none(wrong: dict[str, object]) -> None:
    """NIST's floor of 8 and its 64 that have to be taken hold for every tenant."""
    with pytest.raises(InvalidInput) as refused:
        PasswordPolicy(**wrong)  # type: ignore[arg-type]
    assert [found.pointer for found in refused.value.errors] == [f"/{next(iter(wrong))}"]


def test_the_estimate_is_given_little_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """TOB-PYPI-16: zxcvbn's time grows beyond all bounds with what it is given; it sees the ends of a long password."""
    given: list[str] = []
    real = password_policy.zxcvbn
    monkeypatch.setattr(password_policy, "zxcvbn", lambda text, words: given.append(text) or real(text, words))
    assert reasons("4@8({[<369&#!1|0$5+7%2" * 4 + "and an end of another kind") == []
    assert len(given) == 2
    assert max(map(len, given)) == password_policy.ESTIMATED


def test_parts_that_are_known_are_taken_out() -> None:
    """Words backwards and with digits for letters; walks of four and more in either direction; whole repetitions."""
    assert without_words("P4YYMO-omyyap-x", ["Payymo"]) == "--x"
    assert without_walks("asdf-fdsa-asd-1234-zzzz") == "--asd--"
    assert repeated_in("Ab-ab-AB") == "ab"
    assert repeated_in("abcabx") is None
    assert repeated_in("--------") == "-"
