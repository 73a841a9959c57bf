"""Signed notes and checkpoints: the published ones are read and written as others do, and nothing else is."""

import base64
import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from payymo.audit.notes import (
    NOTE_BYTES_MAX,
    Checkpoint,
    Note,
    SignatureType,
    Verified,
    VerifierKey,
    open_checkpoint,
    parse_keys,
    sign,
)
from payymo.audit.refusals import Refused

PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
)
"""Of the tests of Go's x/mod/sumdb/note."""
SPEC_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SPEC_NOTE = """This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""
"""The example of the C2SP specification."""
LIVE_LOG = "arche2025h1.staging.ct.transparency.dev+ba2f06c0+AU0vHmlGCS/PdN8b2OaGmKprLI8HKM+dJ472xgFYh15f"
LIVE_WITNESS = "remora.n621.de+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
LIVE = """arche2025h1.staging.ct.transparency.dev
1432088532
U7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=

— arche2025h1.staging.ct.transparency.dev zTM8sQAAAZ5W0WdjBAMARjBEAiBjW5IQf9pvsYLfQFX6hoGREPMHbdQ3urbllzalApkptQIg\
IpwtEroeW2BXaHAI4kJXFbon5Ch9MNL5zRNZ55lvGt0=
— arche2025h1.staging.ct.transparency.dev ui8GwCF1+kWqZrxGdhj4aX3gcw7XUlXQQabg/27lefwhUkzbC3NygNI75MdhL1bfTW9g8Ei5\
9RA23oHP7Ry1k3ZFWwQ=
— remora.n621.de 2net5wAAAABqEiEgPlfF3V06o0Y+fHM+J5J9s27wgxxcOVSpZ/2g/KSiXCg9DEZI+aVCIobWX9sXTynk5XeU/zZ0WBxtqB0D\
rAWfBw==
"""
"""Of a log of Certificate Transparency: a signature of a kind that we don't know, its own, and one of a witness."""
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
LOG_KEY = VerifierKey("payymo.example/acme", LOG.public_key().public_bytes_raw())
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(32))
WITNESS_KEY = VerifierKey("witness.example/w1", WITNESS.public_key().public_bytes_raw(), SignatureType.COSIGNATURE)
HEAD = Checkpoint(LOG_KEY.name, 42, hashlib.sha256(b"root").digest())


def cosign(text: str, time: int, key: VerifierKey = WITNESS_KEY) -> str:
    """A witness's line, as C2SP tlog-cosignature defines it."""
    value = WITNESS.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
    line = key.id + time.to_bytes(8) + value
    return f"— {key.name} {base64.b64encode(line).decode()}\n"


def reason(call: Callable[[], object]) -> str:
    with pytest.raises(Refused) as refusal:
        call()
    assert str(refusal.value).endswith(".")
    return refusal.value.reason


@pytest.mark.parametrize("text", [PETER, ENOCH, SPEC_KEY, LIVE_LOG, LIVE_WITNESS, str(WITNESS_KEY)])
def test_keys_are_written_as_they_were_read(text: str) -> None:
    """Also where the base64 has a plus sign; and no other text stands for the key."""
    assert str(VerifierKey.parse(text)) == text
    for at in range(len(text)):
        for other in (text[:at], text[at + 1 :], text[:at] + chr(ord(text[at]) + 1) + text[at + 1 :]):
            assert reason(lambda other=other: VerifierKey.parse(other)) in {"key_malformed", "key_unsupported"}


def test_keys_that_can_not_be_used_are_refused() -> None:
    """A wrong length and an unknown algorithm, with the id that they would have (vectors of Go's); odd names."""
    longer = "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY=="
    unknown = "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert reason(lambda: VerifierKey.parse(longer)) == "key_malformed"
    assert reason(lambda: VerifierKey.parse(unknown)) == "key_unsupported"
    for name in ["", "a b", "a+b", "a\tb", "a\nb", "a\u2003b", "a\u00a0b", "a\x1bb", "a\ud800b"]:
        assert reason(lambda name=name: VerifierKey(name, bytes(32))) == "key_malformed"


def test_a_file_of_keys_may_have_comments() -> None:
    """One key a line."""
    assert parse_keys(f"# the log\n{LOG_KEY}\n\n  {WITNESS_KEY}\n") == (LOG_KEY, WITNESS_KEY)
    assert reason(lambda: parse_keys(f"{LOG_KEY} {WITNESS_KEY}\n")) == "key_malformed"


def test_a_note_is_signed_to_the_byte_as_go_does() -> None:
    """Ed25519 leaves no room: the published key makes the published note."""
    key = VerifierKey.parse(PETER)
    private = Ed25519PrivateKey.from_private_bytes(PETER_SEED)
    assert str(sign(TEXT, key, private.sign)) == f"{TEXT}\n{PETER_LINE}"


def test_a_signature_by_another_key_is_not_let_out() -> None:
    """A key ring that is asked for one key and signs with another is found out before anybody reads it."""
    assert reason(lambda: sign(TEXT, LOG_KEY, WITNESS.sign)) == "signature_invalid"
    assert reason(lambda: sign(TEXT, LOG_KEY, lambda _: b"")) == "signature_invalid"
    for text in ["abc", "", "a\rb\n", "a\x00\n"]:
        assert reason(lambda text=text: sign(text, LOG_KEY, LOG.sign)) == "note_malformed"


@pytest.mark.parametrize(("note", "key"), [(SPEC_NOTE, SPEC_KEY), (f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}", ENOCH)])
def test_published_notes_are_verified(note: str, key: str) -> None:
    """By whoever knows one of the keys; what others signed does not matter to him."""
    known = VerifierKey.parse(key)
    found = Note.parse(note.encode())
    assert found.verify([known, LOG_KEY]) == (Verified(known),)
    assert str(found) == note


def test_known_keys_have_to_be_right_and_unknown_ones_are_ignored() -> None:
    """C2SP signed-note: same name or same id alone is another key; a known one's signature is wrong, or right."""
    peter, enoch = VerifierKey.parse(PETER), VerifierKey.parse(ENOCH)
    namesake = VerifierKey("PeterNeumann", enoch.public_key)
    both = Note.parse(f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}".encode())
    assert {by.key for by in both.verify([enoch, peter, enoch])} == {peter, enoch}
    assert both.verify([peter, namesake]) == (Verified(peter),)
    assert reason(lambda: both.verify([])) == "signature_missing"
    assert reason(lambda: both.verify([namesake, LOG_KEY])) == "signature_missing"
    forged = PETER_LINE.replace("ZJku", "ZJkv")
    for lines in [forged, PETER_LINE + forged, forged + ENOCH_LINE]:
        note = Note.parse(f"{TEXT}\n{lines}".encode())
        assert reason(lambda note=note: note.verify([peter, enoch])) == "signature_invalid"
    assert Note.parse(f"{TEXT}\n{forged}{ENOCH_LINE}".encode()).verify([enoch]) == (Verified(enoch),)


def test_two_keys_of_one_name_and_id_are_refused() -> None:
    """Four bytes collide for whoever wants them to: it can't be told then whose signature it should be."""
    note = Note.parse(f"{TEXT}\n{PETER_LINE}".encode())
    keys = [VerifierKey("PeterNeumann", number.to_bytes(32)) for number in (107_677, 167_350)]
    assert [key.id.hex() for key in keys] == ["9df6c197"] * 2
    assert reason(lambda: note.verify(keys)) == "key_ambiguous"


@pytest.mark.parametrize(
    "data",
    [
        TEXT,
        f"{TEXT}\n",
        f"{TEXT}{PETER_LINE}",
        f"\n{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE[:-1]}",
        f"\x01{TEXT}\n{PETER_LINE}",
        f"{TEXT}\r\n{PETER_LINE}",
        f"{TEXT}\n{PETER_LINE}Unexpected line.\n",
        f"{TEXT}\n{PETER_LINE.replace('—', '-')}",
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad Name')}",
        f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad+Name')}",
        f"{TEXT}\n{PETER_LINE.replace('=', '')}",
        f"{TEXT}\n{PETER_LINE.replace('M=', 'N=')}",
        f"{TEXT}\n{PETER_LINE.replace('x08g', 'x0 8g')}",
        f"{TEXT}\n— PeterNeumann x08gow==\n",
        f"{TEXT}\n{PETER_LINE * 101}",
        f"{'x' * NOTE_BYTES_MAX}\n\n{PETER_LINE}",
    ],
)
def test_what_is_no_note_is_refused(data: str) -> None:
    """Nothing is guessed, cut or completed."""
    assert reason(lambda: Note.parse(data.encode())) == "note_malformed"


def test_a_note_is_in_utf_8() -> None:
    """And may be read by whoever has sixteen witnesses, or a text with empty lines."""
    assert reason(lambda: Note.parse(b"\xff" + f"{TEXT}\n{PETER_LINE}".encode())) == "note_malformed"
    note = f"one\n\ntwo\n\n{PETER_LINE * 16}"
    assert (Note.parse(note.encode()).text, str(Note.parse(note.encode()))) == ("one\n\ntwo\n", note)


def test_a_checkpoint_of_a_real_log_and_its_witness_are_understood() -> None:
    """What is in use out there: read to the facts, with the time at which the witness saw it."""
    log, witness = VerifierKey.parse(LIVE_LOG), VerifierKey.parse(LIVE_WITNESS)
    found = open_checkpoint(LIVE.encode(), [log, witness])
    root = bytes.fromhex("53b58cefd8ebcf2846679fc65014e933b373c1dc9f171eb5b77468be0702e11a")
    assert found.checkpoint == Checkpoint("arche2025h1.staging.ct.transparency.dev", 1_432_088_532, root)
    assert found.log == Verified(log)
    assert found.witnesses == (Verified(witness, 0x6A122120),)
    assert open_checkpoint(LIVE.encode(), [log]).witnesses == ()
    shifted = LIVE.replace("2net5wAAAABqEiEg", "2net5wAAAABqEiEh").encode()
    assert reason(lambda: open_checkpoint(shifted, [log, witness])) == "signature_invalid"


def test_a_checkpoint_is_worth_what_its_own_log_signed() -> None:
    """A key of another log, or a witness alone, does not vouch for this one, however right its signature is."""
    other = VerifierKey("payymo.example/other", LOG_KEY.public_key)
    by_other = str(sign(str(HEAD), other, LOG.sign)).encode()
    assert reason(lambda: open_checkpoint(by_other, [other, LOG_KEY])) == "signature_missing"
    namesake = replace(WITNESS_KEY, name=LOG_KEY.name)
    by_namesake = f"{HEAD}\n{cosign(str(HEAD), 7, namesake)}".encode()
    assert reason(lambda: open_checkpoint(by_namesake, [LOG_KEY, namesake])) == "signature_missing"
    by_witness = f"{HEAD}\n{cosign(str(HEAD), 7)}".encode()
    assert Note.parse(by_witness).verify([WITNESS_KEY]) == (Verified(WITNESS_KEY, 7),)
    assert reason(lambda: open_checkpoint(by_witness, [LOG_KEY, WITNESS_KEY])) == "signature_missing"


def test_a_cosignature_has_a_time_that_can_be() -> None:
    """Up to 2^63 - 1, and a signature of one length behind it."""
    signed = str(sign(str(HEAD), LOG_KEY, LOG.sign))
    latest = open_checkpoint((signed + cosign(str(HEAD), 2**63 - 1)).encode(), [LOG_KEY, WITNESS_KEY])
    assert latest.witnesses == (Verified(WITNESS_KEY, 2**63 - 1),)
    short = f"— {WITNESS_KEY.name} {base64.b64encode(WITNESS_KEY.id + bytes(8)).decode()}\n"
    for line in [cosign(str(HEAD), 2**63), short]:
        note = (signed + line).encode()
        assert reason(lambda note=note: open_checkpoint(note, [LOG_KEY, WITNESS_KEY])) == "signature_invalid"


@given(
    origin=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    size=st.integers(0, 2**63 - 1),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), max_size=3),
)
def test_a_checkpoint_is_read_as_it_was_written(origin: str, size: int, root: bytes, extensions: list[str]) -> None:
    """Whatever a log is called, also with signs that some take for the end of a line."""
    made = Checkpoint(origin, size, root, tuple(extensions))
    assert Checkpoint.parse(str(made)) == made


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n1\n",
        "a\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=",
        "\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "a\n01\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "a\n-1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "a\n٣\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "a\n9223372036854775808\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n",
        "a\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Rp=\n",
        "a\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC\n",
        "a\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\n",
        "a\n1\nU7WM79jrzyhGZ5/GUBTpM7NzwdyfFx61t3RovgcC4Ro=\n\nx\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    """One spelling; three lines at least, none of them empty; a size that fits; a root of 32 bytes."""
    assert reason(lambda: Checkpoint.parse(text)) == "checkpoint_malformed"


def test_a_change_of_any_byte_is_refused() -> None:
    """Of a checkpoint with a witness, for whoever knows both keys: flipped, left out, or put in."""
    note = (str(sign(str(HEAD), LOG_KEY, LOG.sign)) + cosign(str(HEAD), 1_700_000_000)).encode()
    keys = [LOG_KEY, WITNESS_KEY]
    whole = open_checkpoint(note, keys)
    for at in range(len(note)):
        changed = bytes([note[at] ^ 0x01])
        for other in (note[:at] + changed + note[at + 1 :], note[:at] + note[at + 1 :], note[:at] + b"A" + note[at:]):
            try:
                found = open_checkpoint(other, keys)
            except Refused:
                continue
            assert found.checkpoint == whole.checkpoint  # the witness's name or id was hit: as if it had not signed
            assert found.witnesses == ()
            assert at > note.index(WITNESS_KEY.name.encode()) - 1


@given(st.binary(max_size=300) | st.text(alphabet="a\n—+ =A1").map(str.encode))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    """Nothing else happens."""
    for call in (lambda: Note.parse(data), lambda: VerifierKey.parse(data.decode(errors="replace"))):
        with contextlib.suppress(Refused):
            call()
