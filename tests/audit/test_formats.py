"""One event, one line, whatever is in it; and readers of each format get out what was put in."""

import json
import re
import uuid
from dataclasses import replace
from itertools import product
from typing import Any, get_args

import pytest
from cefevent import CEFEvent
from hypothesis import given, settings
from hypothesis import strategies as st

from payymo.audit.entries import Entry
from payymo.audit.formats import Format, Place, read_place, write_line
from payymo.audit.model import Record
from payymo.events import CATALOGUE

USER = uuid.UUID(int=7)
WHENCE = {"address": "192.0.2.1", "user_agent": "x"}
OCSF_OF_ALL = {
    *("metadata", "time", "category_uid", "category_name", "class_uid", "class_name", "activity_id", "activity_name"),
    *("type_uid", "severity_id", "status_id", "status_detail", "unmapped"),
    *("actor", "src_endpoint", "http_request"),
}
"""Of what we write, the members that the published schema 1.2.0 gives its base event, and all IAM classes."""
OCSF_OF_CLASS = {3001: {"user"}, 3002: {"user", "session", "service"}, 3004: {"entity"}}


def entry(name: str = "session.login", *, personal: dict[str, str] | None = None, **members: Any) -> Entry:
    facts: dict[str, Any] = {
        "id": uuid.UUID(int=1),
        "log": uuid.UUID(int=2),
        "type": name,
        "version": 1,
        "at_ms": 1_800_000_000_123,
        "actor": "anonymous",
        "request_id": "request",
        "outcome": "success",
        "about": {"user_id": str(USER)},
        "old": None,
        "new": None,
        "personal": None,
    }
    return Entry(41, uuid.UUID(int=1), b"{}", Record(**{**facts, **members}), personal)


def read_cef(line: str) -> tuple[list[str], dict[str, str]]:
    """As ArcSight's white paper says: the header by unescaped pipes, pairs by unescaped equals signs."""
    parts = re.split(r"(?<=[^\\])\|", line, maxsplit=7)
    head = [re.sub(r"\\(.)", r"\1", part) for part in parts[:7]]
    names = list(re.finditer(r"(?:^| )([A-Za-z0-9]+)=", parts[7]))
    names = [found for found in names if not parts[7][: found.end() - 1].endswith("\\")]
    ends = [found.start() for found in names[1:]] + [len(parts[7])]
    words = {"\\n": "\n", "\\r": "\r", "\\=": "=", "\\\\": "\\"}
    pairs = {
        found[1]: re.sub(r"\\.", lambda match: words[match[0]], parts[7][found.end() : end])
        for found, end in zip(names, ends, strict=True)
    }
    return head, pairs


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=40))
def test_whatever_strangers_write_is_one_line_and_stays_in_its_place(text: str) -> None:
    """A user agent that tries to write another line, another pair, another header."""
    for form in get_args(Format):
        line = write_line(entry(personal={"user_agent": text, "address": "192.0.2.1"}), form, version="1")
        assert len(line.splitlines()) == 1
        assert read_place(line, form) == Place(41, uuid.UUID(int=1))


HOSTILE = "a|b\\ c=d\nCEF:0|x externalId=00000000-0000-0000-0000-000000000009 cn1Label=position cn1=9 \r\u2028\x00end"


def test_cef_escapes_what_its_white_paper_says() -> None:
    """Pipes and backslashes in the header; equals signs, backslashes and line breaks in values; pipes there stay."""
    head, pairs = read_cef(
        write_line(entry(personal={"user_agent": HOSTILE, "address": "2001:db8::1"}), "cef", version="1|2")
    )
    assert head == ["CEF:0", "Payymo", "Payymo", "1|2", "session.login", "session.login", "3"]
    assert pairs["requestClientApplication"] == HOSTILE.replace("\u2028", " ").replace("\x00", " ")
    assert pairs["externalId"] == str(uuid.UUID(int=1))
    assert (pairs["cn1"], pairs["rt"], pairs["duid"]) == ("41", "1800000000123", str(USER))
    assert (pairs["c6a2"], pairs["c6a2Label"], "src" in pairs) == ("2001:db8::1", "Source IPv6 Address", False)
    _, pairs = read_cef(write_line(entry(personal={"address": "192.0.2.1"}, outcome="refused"), "cef", version="1"))
    assert (pairs["src"], pairs["outcome"]) == ("192.0.2.1", "refused")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "-"])
def test_another_dictionary_of_cef_knows_every_pair(address: str) -> None:
    """Each name, the type of its value, and how long it may be; of every event, with the longest user agent we keep."""
    judge = CEFEvent(strict=True)
    personal = {"address": address, "user_agent": "\u00e4" * 200, "email": "a" * 254}
    about = {"user_id": str(USER), "reason": "why", "role": "clerk"}
    for name, actor in product(CATALOGUE, ("anonymous", f"user:{USER}", "operator:me")):
        event = entry(name, personal=personal, about=about, actor=actor, old={"status": "a"}, new={"status": "b"})
        head, pairs = read_cef(write_line(event, "cef", version="1"))
        assert pairs.pop("outcome") == "success"  # the white paper has it, with 63 characters; this dictionary has not
        for member, value in (*pairs.items(), ("severity", head[6])):
            judge.set_field(member, value)


@pytest.mark.parametrize("name", [name for name, found in CATALOGUE.items() if found.is_recorded])
def test_every_type_of_event_is_whole_in_ocsf(name: str) -> None:
    """What OCSF's base event and these classes require, type_uid as defined, and no member that they don't have."""
    for about in ({}, {"user_id": str(USER), "session_id": "s"}, {"role": "clerk", "reason": "why"}):
        found = json.loads(
            write_line(entry(name, personal=WHENCE, about=about, outcome="refused"), "ocsf", version="1")
        )
        assert found.keys() <= OCSF_OF_ALL | OCSF_OF_CLASS[found["class_uid"]]
        assert found["category_uid"] == 3
        assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]
        assert found["time"] == 1_800_000_000_123
        assert (found["severity_id"], found["status_id"]) == (2, 2)
        assert found["metadata"]["version"] == "1.2.0"
        assert found["metadata"]["product"]["vendor_name"]
        match found["class_uid"]:
            case 3001 | 3002:
                assert found["user"].get("uid") or found["user"]["name"]
                assert found["class_uid"] == 3001 or found["service"]["name"]
                assert found["activity_id"] in {*range(1, 12), 99}
            case 3004:
                assert found["entity"].get("name") or found["entity"]["uid"]
                assert found["activity_id"] in {1, 2, 3, 4}
        if found["activity_id"] == 99:
            assert found["activity_name"] == name


@pytest.mark.parametrize("form", get_args(Format))
def test_what_is_personal_is_in_every_format(form: Format) -> None:
    """Of a sender, too, whose address is one of mail and not one that something came from."""
    told = {"address": "help@example.com", "name": "Helpdesk", "user_agent": "a browser"}
    line = write_line(entry("mail.sender-changed", personal=told, about={}), form, version="1")
    assert [value for value in told.values() if value not in line] == []


@pytest.mark.parametrize("form", get_args(Format))
def test_what_somebody_has_changed_or_erased_is_said_in_every_format(form: Format) -> None:
    """Whoever collects events hears of both; an event that had nothing personal is not called erased."""
    for members in ({"is_damaged": True}, {"is_erased": True}, {}):
        line = write_line(replace(entry(), **members), form, version="1")
        plain = line.replace('"damaged":false', "").replace('"erased":false', "")
        assert {f"is_{word}" for word in ("damaged", "erased") if word in plain} == set(members)


def test_ocsf_says_who_did_what_to_whom() -> None:
    """A few by hand."""
    login = json.loads(write_line(entry(personal={"address": "192.0.2.1", "user_agent": "x"}), "ocsf", version="1"))
    assert (login["class_uid"], login["activity_id"], login["type_uid"]) == (3002, 1, 300201)
    assert login["src_endpoint"] == {"ip": "192.0.2.1"}
    assert login["http_request"] == {"user_agent": "x"}
    assert "actor" not in login
    members = {"actor": "operator:me", "old": {"status": "active"}, "new": {"status": "disabled"}}
    disabled = json.loads(write_line(entry("user.status-changed", **members), "ocsf", version="1"))
    assert (disabled["class_uid"], disabled["activity_id"]) == (3001, 5)
    assert disabled["actor"] == {"user": {"name": "me", "type_id": 2}}
    assert disabled["unmapped"]["new"] == {"status": "disabled"}
    role = json.loads(write_line(entry("role.removed", about={"role": "clerk"}), "ocsf", version="1"))
    assert (role["class_uid"], role["activity_id"], role["entity"]) == (3004, 4, {"type": "role", "name": "clerk"})


@pytest.mark.parametrize("line", ["", "{", "[]", "null", "{}", '{"unmapped":1,"metadata":2}', "CEF:0|", "CEF:1|x"])
def test_what_is_no_line_of_ours_has_no_place(line: str) -> None:
    """An export goes on behind its own lines alone."""
    for form in get_args(Format):
        with pytest.raises(ValueError, match="of ours"):
            read_place(line, form)
