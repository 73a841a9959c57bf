"""Events as lines of text, for programs that collect them: JSON lines, CEF, OCSF. Pure.

Whatever is in an event, it is one line. Each line says which event it is and at which position, so that an export can
go on behind the last one.
"""

import ipaddress
import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from payymo.audit.entries import Entry

Format = Literal["jsonl", "cef", "ocsf"]


@dataclass(frozen=True, slots=True)
class Place:
    """Which event a line is, and where it stands in its log."""

    position: int
    id: uuid.UUID


# ── JSON lines ───────────────────────────────────────────────────────────────────────────────────────────────────────


def as_json(entry: Entry, *, version: str) -> str:
    """As the API shows it. JSON in ASCII has no line breaks of any kind inside."""
    del version
    return json.dumps(entry.facts(), separators=(",", ":"))


def _place_in_json(line: str) -> Place:
    found = json.loads(line)
    return Place(int(found["position"]), uuid.UUID(found["id"]))


# ── CEF: ArcSight Common Event Format, version 0 ─────────────────────────────────────────────────────────────────────

_SEVERITY: Final = {"success": 3, "refused": 5, "error": 8}
"""Of 0 to 10."""
_CONTROL: Final = re.compile("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029]")
"""What some reader takes for an end of line or worse, without a way to escape it."""
_CEF_PLACE: Final = re.compile(r" externalId=([0-9a-f-]{36}) cn1Label=position cn1=([0-9]+) ")


def as_cef(entry: Entry, *, version: str) -> str:
    """The header and the extension, whose names are those of CEF's dictionary as far as it has any."""
    record = entry.record
    head = ("CEF:0", *map(_in_header, ("Payymo", "Payymo", version, record.type, record.type)))
    severity = _SEVERITY.get(record.outcome, 5)
    extension = " ".join(f"{name}={_in_extension(value)}" for name, value in _cef_members(entry).items())
    return f"{'|'.join(head)}|{severity}|{extension}"


def _cef_members(entry: Entry) -> dict[str, str]:
    record, about, personal = entry.record, dict(entry.record.about), entry.personal or {}
    kind, _, name = record.actor.partition(":")
    log = "platform" if record.log is None else str(record.log)
    members: dict[str, object | None] = {
        "rt": record.at_ms,
        "externalId": entry.id,
        "cn1Label": "position",
        "cn1": entry.position,
        "cs1Label": "log",
        "cs1": log,
        "outcome": record.outcome,
        "reason": about.pop("reason", None),
        "msg": "damaged" if entry.is_damaged else "erased" if entry.is_erased else None,
        "suid": name if kind == "user" else None,
        "suser": None if kind == "user" else record.actor,
        "duid": about.pop("user_id", None),
        "requestClientApplication": personal.get("user_agent"),
        **_cef_source(personal.get("address")),
        **_labelled("cs2", "request", record.request_id),
        **_labelled("cs3", "about", about),
        **_labelled("cs4", "old", record.old),
        **_labelled("cs5", "new", record.new),
        **_labelled("cs6", "personal", _without_place(personal)),
    }
    return {name: str(value) for name, value in members.items() if value is not None}


def _cef_source(address: str | None) -> dict[str, object]:
    """`src` is for IPv4 alone."""
    match _version_of(address):
        case 4:
            return {"src": address}
        case 6:
            return {"c6a2Label": "Source IPv6 Address", "c6a2": address}
        case _:
            return {}


def _labelled(name: str, label: str, value: str | Mapping[str, object] | None) -> dict[str, object]:
    if not value:
        return {}
    return {f"{name}Label": label, name: value if isinstance(value, str) else json.dumps(value)}


def _in_header(text: str) -> str:
    """In the header a pipe is escaped, and there is no way to write a line break."""
    plain = _CONTROL.sub(" ", text).replace("\r", " ").replace("\n", " ")
    return plain.replace("\\", "\\\\").replace("|", "\\|")


def _in_extension(text: str) -> str:
    """In a value an equals sign is escaped, a pipe is not, and line breaks have words of their own."""
    escaped = _CONTROL.sub(" ", text).replace("\\", "\\\\").replace("=", "\\=")
    return escaped.replace("\r", "\\r").replace("\n", "\\n")


def _place_in_cef(line: str) -> Place:
    found = _CEF_PLACE.search(line)  # the first: what comes before it is the service's own
    if found is None or not line.startswith("CEF:0|"):
        raise ValueError
    return Place(int(found[2]), uuid.UUID(found[1]))


# ── OCSF: Open Cybersecurity Schema Framework ────────────────────────────────────────────────────────────────────────

OCSF_VERSION: Final = "1.2.0"
"""The first whose Entity Management has a place for where something was done from."""
_IAM: Final = 3
_ACCOUNT_CHANGE: Final = (3001, "Account Change")
_AUTHENTICATION: Final = (3002, "Authentication")
_ENTITY_MANAGEMENT: Final = (3004, "Entity Management")
_OTHER: Final = 99
_LOGON, _LOGOFF = 1, 2
_AUTHENTICATIONS: Final = {
    "session.login": _LOGON,
    "session.logout": _LOGOFF,
    "session.logout-everywhere": _LOGOFF,
    "session.ended": _LOGOFF,
    "session.all-ended": _LOGOFF,
    "session.refresh": _OTHER,
    "session.impersonated": _LOGON,
    "session.impersonation-ended": _LOGOFF,
}
_ACCOUNT_CHANGES: Final = {
    "user.registered": 1,
    "user.created": 1,
    "user.invited": 1,
    "user.imported": 1,
    "user.password-changed": 3,
    "user.password-reset": 4,
    "user.reset-forced": 4,
    "user.reset-requested": 4,
    "user.erased": 6,
    "login.waits": 9,
    "login.stopped": 9,
}
"""Create, Password Change, Password Reset, Delete, Lock; Enable and Disable depend on the status. The rest: Other."""
_STATUS_CHANGES: Final = {"active": 2, "disabled": 5}
_CREATE, _READ, _UPDATE, _DELETE = 1, 2, 3, 4
_VERBS: Final = (
    dict.fromkeys(("created", "put", "requested", "issued", "imported"), _CREATE)
    | dict.fromkeys(("read", "exported"), _READ)
    | dict.fromkeys(
        ("removed", "deleted", "rows-deleted", "revoked", "destroyed", "dropped", "pruned", "ended", "forgotten"),
        _DELETE,
    )
)
_NAMES: Final = ("role", "kid", "secret", "certificate", "service", "mail")
_OCSF_SEVERITY: Final = {"success": 1, "refused": 2, "error": 4}
"""Informational, Low, High."""
_OCSF_STATUS: Final = {"success": 1, "refused": 2, "error": 2}
"""Success, Failure."""
_USER_KINDS: Final = {"user": 1, "operator": 2, "service": 3, "system": 3}
"""User, Admin, System."""


def as_ocsf(entry: Entry, *, version: str) -> str:
    """Authentication, Account Change or Entity Management; what the schema has no place for is under `unmapped`."""
    record, personal = entry.record, entry.personal or {}
    (class_uid, class_name), activity, subject = _classify(entry)
    event = {
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": "Payymo", "vendor_name": "Payymo", "version": version},
            "uid": str(entry.id),
            "log_name": "platform" if record.log is None else str(record.log),
            "event_code": record.type,
            "correlation_uid": record.request_id,
        },
        "time": record.at_ms,
        "category_uid": _IAM,
        "category_name": "Identity & Access Management",
        "class_uid": class_uid,
        "class_name": class_name,
        "activity_id": activity,
        "activity_name": record.type if activity == _OTHER else None,
        "type_uid": class_uid * 100 + activity,
        "severity_id": _OCSF_SEVERITY.get(record.outcome, 0),
        "status_id": _OCSF_STATUS.get(record.outcome, 0),
        "status_detail": record.about.get("reason"),
        "actor": _ocsf_actor(record.actor),
        "src_endpoint": None if _version_of(personal.get("address")) is None else {"ip": personal["address"]},
        "http_request": {"user_agent": personal["user_agent"]} if "user_agent" in personal else None,
        **subject,
        "unmapped": {name: value for name, value in _unmapped(entry).items() if value},
    }
    given = {name: value for name, value in event.items() if value is not None}
    given["unmapped"]["position"] = entry.position
    return json.dumps(given, separators=(",", ":"))


def _classify(entry: Entry) -> tuple[tuple[int, str], int, dict[str, Any]]:
    """The class, the activity, and what the class asks for: a user, or an entity."""
    record = entry.record
    if record.type in _AUTHENTICATIONS:
        about: dict[str, Any] = {"user": _ocsf_user(entry), "service": {"name": "Payymo"}}
        if "session_id" in record.about:
            about["session"] = {"uid": record.about["session_id"]}
        return _AUTHENTICATION, _AUTHENTICATIONS[record.type], about
    if "user_id" in record.about and record.type != "user.exported":
        activity = _ACCOUNT_CHANGES.get(record.type, _OTHER)
        if record.type == "user.status-changed":
            activity = _STATUS_CHANGES.get(str((record.new or {}).get("status")), _OTHER)
        return _ACCOUNT_CHANGE, activity, {"user": _ocsf_user(entry)}
    kind, _, verb = record.type.partition(".")
    name = next((record.about[name] for name in _NAMES if name in record.about), None)
    uid = record.about.get("user_id") or record.about.get("tenant_id")
    entity = {"type": kind, "name": name, "uid": uid} if name or uid else {"type": kind, "name": kind}
    told = {name: value for name, value in entity.items() if value is not None}
    return _ENTITY_MANAGEMENT, _VERBS.get(verb, _UPDATE), {"entity": told}


def _ocsf_user(entry: Entry) -> dict[str, Any]:
    """Whom it is about. The schema asks for one where we know of none, too."""
    uid, personal = entry.record.about.get("user_id"), entry.personal or {}
    user = {"uid": uid, "type_id": 1, "email_addr": personal.get("email"), "name": personal.get("username")}
    told = {name: value for name, value in user.items() if value is not None}
    return told if uid is not None else {"name": "-", "type_id": 0}


def _ocsf_actor(actor: str) -> dict[str, Any] | None:
    kind, _, name = actor.partition(":")
    if kind not in _USER_KINDS:
        return None
    return {"user": {"uid" if kind == "user" else "name": name, "type_id": _USER_KINDS[kind]}}


def _unmapped(entry: Entry) -> dict[str, Any]:
    record = entry.record
    return {
        "about": dict(record.about),
        "old": record.old,
        "new": record.new,
        "personal": _without_place(entry.personal or {}),
        "type_version": record.version,
        "erased": entry.is_erased,
        "damaged": entry.is_damaged,
    }


def _place_in_ocsf(line: str) -> Place:
    found = json.loads(line)
    return Place(int(found["unmapped"]["position"]), uuid.UUID(found["metadata"]["uid"]))


def _without_place(personal: Mapping[str, str]) -> dict[str, str]:
    """What is personal, but for where it came from, which has its place. An address of mail is not that."""
    placed = {"user_agent"} if _version_of(personal.get("address")) is None else {"user_agent", "address"}
    return {name: value for name, value in personal.items() if name not in placed}


def _version_of(address: str | None) -> int | None:
    """Of an address; None: it is none."""
    try:
        return ipaddress.ip_address(address or "").version
    except ValueError:
        return None


_WRITE: Final[dict[Format, Callable[..., str]]] = {"jsonl": as_json, "cef": as_cef, "ocsf": as_ocsf}
_READ_PLACE: Final[dict[Format, Callable[[str], Place]]] = {
    "jsonl": _place_in_json,
    "cef": _place_in_cef,
    "ocsf": _place_in_ocsf,
}


def write_line(entry: Entry, form: Format, *, version: str) -> str:
    """The event as one line, without its end. `version`: of this software."""
    return _WRITE[form](entry, version=version)


def read_place(line: str, form: Format) -> Place:
    """Which event a line is. Raises ValueError: it is none of this form."""
    try:
        return _READ_PLACE[form](line)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"not a line of {form} of ours") from None
