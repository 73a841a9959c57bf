"""Proofs in a file: what they show to somebody who has nothing but the log's public key, and what they don't."""

import base64
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from payymo.audit.commitments import commit, is_committed
from payymo.audit.merkle import Edge, leaf_hash, prove_consistency, prove_inclusion, root_at
from payymo.audit.notes import Checkpoint, SignatureType, VerifierKey, sign
from payymo.audit.proofs import (
    PROOF_BYTES_MAX,
    ConsistencyProof,
    Consistent,
    Disclosure,
    Included,
    InclusionProof,
    check,
)
from payymo.audit.refusals import Refused

LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = VerifierKey("payymo.example/log/acme", LOG.public_key().public_bytes_raw())
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(32))
WITNESS_KEY = VerifierKey("witness.example/w1", WITNESS.public_key().public_bytes_raw(), SignatureType.COSIGNATURE)
SALT = bytes(range(100, 132))
PAYLOAD = '{"email":"ann@example.org","name":"Zoë"}'.encode()


def record(number: int, personal: str | None = None) -> bytes:
    return json.dumps({"personal": personal, "seq": number, "type": "login.succeeded"}, separators=(",", ":")).encode()


RECORDS = [record(number, commit(SALT, PAYLOAD).hex() if number % 2 else None) for number in range(300)]


def tree(records: list[bytes]) -> Callable[[int, int], bytes]:
    edge = Edge()
    tiles = edge.add([leaf_hash(data) for data in records]) | edge.partial()
    return lambda level, position: tiles[level, position]


READ = tree(RECORDS)


def checkpoint(size: int, *, read: Callable[[int, int], bytes] = READ, key: VerifierKey = KEY) -> bytes:
    return str(sign(str(Checkpoint(key.name, size, root_at(size, read))), key, LOG.sign)).encode()


def cosigned(note: bytes, time: int) -> bytes:
    text = note.partition(b"\n\n")[0] + b"\n"
    value = WITNESS.sign(f"cosignature/v1\ntime {time}\n".encode() + text)
    line = base64.b64encode(WITNESS_KEY.id + time.to_bytes(8) + value).decode()
    return note + f"— {WITNESS_KEY.name} {line}\n".encode()


def inclusion(index: int = 267, size: int = 300, disclosure: Disclosure | None = None) -> InclusionProof:
    return InclusionProof(index, prove_inclusion(index, size, READ), checkpoint(size), RECORDS[index], disclosure)


def consistency(old: int = 100, new: int = 300) -> ConsistencyProof:
    return ConsistencyProof(prove_consistency(old, new, READ), checkpoint(old), checkpoint(new))


def reason(data: bytes, *keys: VerifierKey) -> str:
    with pytest.raises(Refused) as refusal:
        check(data, keys or [KEY])
    assert str(refusal.value).endswith(".")
    return refusal.value.reason


def test_a_proof_shows_that_an_event_is_in_the_log() -> None:
    """Out of one file, with one key: which log, which place, which record; witnesses, for whoever knows them."""
    proof = inclusion()
    found = check(proof.encode(), [KEY])
    assert isinstance(found, Included)
    assert (found.index, found.record, found.has_personal, found.payload) == (267, RECORDS[267], True, None)
    assert (found.signed.checkpoint.origin, found.signed.checkpoint.size) == (KEY.name, 300)
    witnessed = replace(proof, checkpoint=cosigned(proof.checkpoint, 1_700_000_000)).encode()
    facts = check(witnessed, [KEY, WITNESS_KEY]).facts()
    assert json.loads(json.dumps(facts)) == {
        "proof": "inclusion",
        "log": KEY.name,
        "index": 267,
        "size": 300,
        "root": base64.b64encode(root_at(300, READ)).decode(),
        "key": str(KEY),
        "witnesses": [{"name": WITNESS_KEY.name, "time": 1_700_000_000}],
        "record": RECORDS[267].decode(),
        "has_personal": True,
        "payload": None,
    }


def test_the_file_is_what_other_tools_read() -> None:
    """C2SP tlog-proof v1 to the byte; the record lies in the extra line, where they pass it over."""
    proof = inclusion(1, 3, Disclosure(SALT, PAYLOAD))
    extra = RECORDS[1] + b'\n{"payload":"' + base64.b64encode(PAYLOAD) + b'","salt":"' + SALT.hex().encode() + b'"}'
    lines = [base64.b64encode(leaf_hash(RECORDS[at])).decode() for at in (0, 2)]
    assert proof.encode().decode() == (
        f"c2sp.org/tlog-proof@v1\nextra {base64.b64encode(extra).decode()}\nindex 1\n{lines[0]}\n{lines[1]}\n\n"
        + checkpoint(3).decode()
    )
    alone = inclusion(0, 1)
    assert b"\nindex 0\n\npayymo.example/log/acme\n1\n" in alone.encode()
    assert isinstance(check(alone.encode(), [KEY]), Included)


def test_personal_data_is_shown_or_withheld_and_can_not_be_another() -> None:
    """The record commits to it; a proof may open the commitment, and only to what was committed to."""
    shown = check(inclusion(267, 300, Disclosure(SALT, PAYLOAD)).encode(), [KEY])
    assert isinstance(shown, Included)
    assert (shown.payload, shown.facts()["payload"]) == (PAYLOAD, PAYLOAD.decode())
    for wrong in [Disclosure(SALT, PAYLOAD + b" "), Disclosure(SALT[::-1], PAYLOAD), Disclosure(SALT, b"")]:
        assert reason(inclusion(267, 300, wrong).encode()) == "another_payload"
    assert reason(inclusion(268, 300, Disclosure(SALT, PAYLOAD)).encode()) == "nothing_committed"
    none = check(inclusion(268, 300).encode(), [KEY])
    assert isinstance(none, Included)
    assert (none.has_personal, none.payload) == (False, None)


def test_a_proof_shows_that_a_log_only_grew() -> None:
    """From any size to any larger one, the same one, and from nothing."""
    for old, new in [(0, 300), (1, 2), (100, 300), (256, 300), (299, 300), (300, 300)]:
        found = check(consistency(old, new).encode(), [KEY])
        assert isinstance(found, Consistent)
        assert (found.old.checkpoint.size, found.new.checkpoint.size) == (old, new)
        assert ConsistencyProof.parse(consistency(old, new).encode()) == consistency(old, new)
    facts = check(consistency().encode(), [KEY]).facts()
    assert facts["proof"] == "consistency"
    assert [facts[head]["size"] for head in ("old", "new")] == [100, 300]


def test_a_log_that_was_rewritten_is_found_out() -> None:
    """Both checkpoints are signed by the log itself, and yet they don't follow each other."""
    other = tree([b'{"personal":null}', *RECORDS[1:]])
    for new in (100, 300):
        rewritten = checkpoint(new, read=other)
        proof = ConsistencyProof(prove_consistency(100, new, other), checkpoint(100), rewritten)
        assert reason(proof.encode()) == "not_consistent"
    shrunk = ConsistencyProof((), checkpoint(300), checkpoint(100))
    assert reason(shrunk.encode()) == "not_consistent"


def test_checkpoints_of_two_logs_do_not_make_a_proof() -> None:
    """Even when one key has signed both: each tenant has a log of its own."""
    other = VerifierKey("payymo.example/log/other", KEY.public_key)
    proof = replace(consistency(), new=checkpoint(300, key=other))
    assert reason(proof.encode(), KEY, other) == "another_log"
    assert reason(proof.encode()) == "signature_missing"


def test_a_record_that_is_not_in_the_log_is_refused() -> None:
    """Another record, another place, another size, hashes of another leaf: each has its refusal."""
    proof = inclusion()
    for wrong in (
        replace(proof, record=RECORDS[267] + b" "),
        replace(proof, record=RECORDS[266]),
        replace(proof, index=266),
        replace(proof, index=300),
        replace(proof, hashes=inclusion(266).hashes),
        replace(proof, hashes=proof.hashes[:-1]),
        replace(proof, checkpoint=checkpoint(299)),
    ):
        assert reason(wrong.encode()) == "not_included"
    assert reason(proof.encode(), WITNESS_KEY) == "signature_missing"
    assert reason(replace(proof, checkpoint=b"no note\n").encode()) == "note_malformed"
    words = str(sign("some\nother\ntext\n", KEY, LOG.sign)).encode()
    assert reason(replace(proof, checkpoint=words).encode()) == "checkpoint_malformed"


def test_a_record_without_personal_data_need_not_mention_any() -> None:
    """As the service writes them: what an event does not have is not in its record."""
    read = tree([b'{"id":1}'])
    found = check(InclusionProof(0, (), checkpoint(1, read=read), b'{"id":1}').encode(), [KEY])
    assert (found.has_personal, found.payload) == (False, None)


@pytest.mark.parametrize(
    "data",
    [
        b"[]",
        b"null",
        b"not json",
        b'{"personal":0}',
        b'{"personal":"' + b"A" * 64 + b'"}',
        b'{"personal":"' + b"0" * 63 + b'"}',
        b'{"personal":null,"personal":null}',
        b'{"personal":null,"a":{"b":1,"b":2}}',
        b"[" * 100_000,
        b'{"personal":null,"a":' + b"1" * 5000 + b"}",
        b'{"personal":null,"a":"\xff"}',
    ],
)
def test_what_a_record_commits_to_has_to_be_readable(data: bytes) -> None:
    """Also one that is in the log: nothing is read into it, and nothing of it breaks the reader."""
    read = tree([data])
    assert reason(InclusionProof(0, (), checkpoint(1, read=read), data).encode()) == "record_malformed"


def test_a_record_is_one_line() -> None:
    """Or it could not be told from what is shown below it."""
    for data in [b"", b"{\n}"]:
        with pytest.raises(Refused, match="one line"):
            InclusionProof(0, (), checkpoint(1), data)


@pytest.mark.parametrize("make", [lambda: inclusion(267, 300, Disclosure(SALT, PAYLOAD)), consistency])
def test_a_change_of_any_byte_is_refused(make: Callable[[], InclusionProof | ConsistencyProof]) -> None:
    """Flipped, left out or put in, wherever it is: what a file shows, it shows in one spelling."""
    data = make().encode()
    check(data, [KEY])
    for at in range(len(data)):
        changed = bytes([data[at] ^ 0x01])
        for other in (data[:at] + changed + data[at + 1 :], data[:at] + data[at + 1 :], data[:at] + b"A" + data[at:]):
            with pytest.raises(Refused):
                check(other, [KEY])
    for end in range(0, len(data), 7):
        with pytest.raises(Refused):
            check(data[:end], [KEY])


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace("index 267", "index 0267"),
        lambda text: text.replace("index 267", "index +267"),
        lambda text: text.replace("index 267", "index 99999999999999999999"),
        lambda text: text.replace("extra ", "extra  "),
        lambda text: text.replace("extra ", "other "),
        lambda text: text[: text.index("extra")] + text[text.index("index") :],
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("index 267\n", "index 267\n" + (base64.b64encode(bytes(32)).decode() + "\n") * 65),
        lambda text: text.replace("index 267\n", "index 267\n" + "A" * 44 + "\n"),
        lambda text: text + "x" * PROOF_BYTES_MAX,
        lambda text: "c2sp.org/tlog-proof@v2" + text[22:],
        lambda text: text[:0],
    ],
)
def test_another_shape_is_no_proof(damage: Callable[[str], str]) -> None:
    """Nothing is guessed, cut or completed."""
    assert reason(damage(inclusion().encode().decode()).encode()) in {"proof_malformed", "note_malformed"}


def test_what_is_shown_has_one_spelling() -> None:
    """Other spaces, a member more, an empty line, upper case: no two files show the same in another way."""
    proof = inclusion(267, 300, Disclosure(SALT, PAYLOAD)).encode().decode()
    start, extra, rest = proof.partition("extra ")[0], *proof.partition("extra ")[2].split("\n", 1)
    line = base64.b64decode(extra).decode()
    for other in [
        line.replace('":"' + SALT.hex(), '": "' + SALT.hex()),
        line.replace(SALT.hex(), SALT.hex().upper()),
        line[:-1] + ',"more":1}',
        line + "\n",
        RECORDS[267].decode() + "\n",
        RECORDS[267].decode() + "\n[]",
        RECORDS[267].decode() + '\n{"payload":1,"salt":2}',
    ]:
        assert other != line
        respelt = f"{start}extra {base64.b64encode(other.encode()).decode()}\n{rest}"
        assert reason(respelt.encode()) == "proof_malformed"


def test_a_proof_is_not_endless() -> None:
    """However right it is."""
    endless = b'{"personal":null,"a":"' + b"a" * PROOF_BYTES_MAX + b'"}'
    proof = InclusionProof(0, (), checkpoint(1, read=tree([endless])), endless)
    assert reason(proof.encode()) == "proof_malformed"


@given(
    st.sampled_from([b"", b"c2sp.org/tlog-proof@v1\n", b"payymo/consistency-proof@v1\n"]),
    st.binary(max_size=200) | st.text(alphabet="a\n—+ =A1x").map(str.encode),
)
def test_whatever_comes_is_refused(head: bytes, data: bytes) -> None:
    """Checking fails in no other way."""
    with pytest.raises(Refused):
        check(head + data, [KEY])


def test_a_proof_in_a_log_of_ten_million_is_small() -> None:
    """With its record and its checkpoint at most 2 KiB, and with the hashes alone far below."""
    event = record(1) + b" " * (400 - len(record(1)))
    proof = InclusionProof(9_999_999, (bytes(32),) * 24, checkpoint(300), event)
    assert len(proof.encode()) <= 2048
    assert InclusionProof.parse(proof.encode()) == proof


def test_a_commitment_has_one_payload_and_one_salt() -> None:
    """Where the salt ends and the payload begins can't be moved; without 32 bytes of salt there is no commitment."""
    made = commit(SALT, PAYLOAD)
    assert is_committed(made, SALT, PAYLOAD)
    assert not is_committed(made, SALT, PAYLOAD[:-1])
    assert not is_committed(made, SALT[:-1] + PAYLOAD[:1], PAYLOAD[1:])
    assert not is_committed(made[:-1], SALT, PAYLOAD)
    assert not is_committed(made, SALT[:-1], SALT[-1:] + PAYLOAD)
    with pytest.raises(ValueError, match="32 bytes"):
        commit(SALT[:-1], PAYLOAD)
    assert made == hashlib.sha256(b"payymo audit personal v1\n" + SALT + PAYLOAD).digest()
