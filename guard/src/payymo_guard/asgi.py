"""Guards a whole ASGI application by a table of its paths, whatever its framework. What the table lacks is denied.

The table is read by the path that the application routes on: decoded, without `root_path`, in the very same case. A
path that one program could read otherwise than another (`//`, `..`, an encoded slash) is refused before anybody does.
Some frameworks take other letters, or a slash at the end, for the same path: see `Rule.resembles`.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Final, TypeAlias

from payymo_guard.bearer import MALFORMED, NOT_PERMITTED, Answer, Tenant, admit_async, concrete
from payymo_guard.claims import Claims
from payymo_guard.off_loop import Verifies

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

KEY: Final = "payymo_guard.claims"
STATE: Final = "payymo"
WEBSOCKET: Final = "WEBSOCKET"
_REST: Final = "*"
_PARAMETER: Final = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_AMBIGUOUS: Final = re.compile(r"//|/\.{1,2}(?:/|$)|[\\\x00-\x1f\x7f\ufffd\ud800-\udfff]|%[0-9A-Fa-f]{2}")
"""In a decoded path: what is cleaned away by some, what was no UTF-8, what would be something else if decoded again."""
_AMBIGUOUS_RAW: Final = re.compile(rb"#|%(?:2f|5c)", re.IGNORECASE)
"""Before it is decoded: a fragment, at which some servers cut, and a slash that for some is one between segments."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one line of the table says: whom to let in to these paths, by these methods."""

    path: str
    permissions: tuple[str, ...] | None
    """None: everybody."""
    methods: frozenset[str] | None
    """None: all of them, and WebSockets."""
    tenant: str | None
    impersonated: bool = True
    """Whether administrators are let in who act as somebody else."""
    _pattern: re.Pattern[str] = field(init=False, repr=False)
    _loose: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Raise ValueError for a path that is none."""
        pattern = "/".join(map(_regex, _segments(self.path)))
        object.__setattr__(self, "_pattern", re.compile(pattern, re.DOTALL))
        object.__setattr__(self, "_loose", re.compile(pattern, re.DOTALL | re.IGNORECASE))

    @property
    def is_literal(self) -> bool:
        """Whether it is about one path, which whoever wrote it has named."""
        return not set("{*") & set(self.path)

    def matches(self, path: str, method: str) -> dict[str, str] | None:
        """The parameters of a path that this rule is about; None if it isn't."""
        if self.methods is not None and method not in self.methods:
            return None
        found = self._pattern.fullmatch(path)
        return None if found is None else found.groupdict()

    def resembles(self, path: str, method: str) -> dict[str, str] | None:
        """The same of a path that some framework takes for one that this rule is about: its case, a slash at its end.

        Litestar and Quart may leave out that slash, BlackSheep the case; Starlette and Django do neither.
        """
        if self.methods is not None and method not in self.methods:
            return None
        other = path[:-1] if path.endswith("/") else f"{path}/"
        found = self._loose.fullmatch(path) or self._loose.fullmatch(other)
        return None if found is None else found.groupdict()

    def hides(self, later: "Rule") -> bool:
        """Whether nothing is left for a later rule."""
        if self.methods is not None and (later.methods is None or not later.methods <= self.methods):
            return False
        mine, others = self.path.split("/"), later.path.split("/")
        if mine[-1] == _REST and len(others) >= len(mine):
            mine, others = mine[:-1], others[: len(mine) - 1]
        return len(mine) == len(others) and all(map(_covers, mine, others))


def protect(
    path: str,
    *permissions: str,
    methods: Iterable[str] | None = None,
    tenant: str | None = None,
    impersonated: bool = True,
) -> Rule:
    """Require a valid access token that has every one of `permissions`.

    In `path`, `{name}` is any one segment, and a last `*` is all that is below. Without `methods` it is about all of
    them and about WebSockets; GET brings HEAD with it, and "WEBSOCKET" names what is none. `tenant` is the name of the
    segment that has to be the token's tenant. Not `impersonated`: only the person themselves, and no administrator who
    acts as them. Raises ValueError.
    """
    required = concrete(permissions)
    if tenant is not None and f"{{{tenant}}}" not in path.split("/"):
        raise ValueError(f"{path}: no segment is {{{tenant}}}")
    return Rule(path, required, _methods(methods), tenant, impersonated)


def public(path: str, *, methods: Iterable[str] | None = None) -> Rule:
    """Let everybody in."""
    return Rule(path, None, _methods(methods), None)


class ASGIGuard:
    """An ASGI application that lets requests through to another one, by the first rule that is about them.

    What it lets through finds its caller by `claims(scope)`, and as `request.state.payymo` where there is such a thing;
    None where everybody is let in.
    """

    def __init__(self, app: Application, core: Verifies, rules: Sequence[Rule]) -> None:
        """Raises ValueError for a rule that can't be reached, since an earlier one says all there is to say."""
        for earlier, later in combinations(rules, 2):
            if earlier.hides(later):
                raise ValueError(f"{later.path} is never reached: {earlier.path} comes before it")
        self._app = app
        self._core = core
        self._rules = tuple(rules)
        self._sets_root = _fastapi_in(app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer."""
        if scope["type"] != "lifespan":
            outcome = await self._decide(scope)
            if isinstance(outcome, Answer):
                await refuse(outcome, scope, receive, send)
                return
            scope[KEY] = outcome
            scope["state"] = {**scope.get("state", {}), STATE: outcome}  # a new one: some servers share theirs
        await self._app(scope, receive, send)

    async def _decide(self, scope: Scope) -> Claims | Answer | None:
        method = _method_of(scope)
        path = route_path(scope, getattr(self._sets_root, "root_path", ""))
        if path is None or method.upper() != method:  # some servers pass `post` on, and some applications take it
            return MALFORMED
        for rule in self._rules:
            parameters = rule.matches(path, method)
            if parameters is not None:
                break
        else:
            return await self._deny(scope)
        # What is about all the rest opens nothing that an earlier rule guards where it is spelled otherwise.
        earlier = () if rule.is_literal else self._rules[: self._rules.index(rule)]
        demands = [(one, found) for one in earlier if (found := one.resembles(path, method)) is not None]
        outcome: Claims | Answer | None = None
        for demand, found in [*demands, (rule, parameters)]:
            if demand.permissions is not None:
                outcome = await self._ask(demand, demand.permissions, found, scope)
            if isinstance(outcome, Answer):
                break
        return outcome

    async def _ask(
        self, rule: Rule, permissions: tuple[str, ...], parameters: dict[str, str], scope: Scope
    ) -> Claims | Answer:
        """Whether the caller fulfils a rule."""
        pinned: Tenant | None = None if rule.tenant is None else (lambda: parameters[str(rule.tenant)])
        sent = authorization(scope)
        return await admit_async(self._core, sent, permissions, tenant=pinned, impersonated=rule.impersonated)

    async def _deny(self, scope: Scope) -> Answer:
        """Strangers are asked for a token, as everywhere: they can't tell which paths there are."""
        outcome = await admit_async(self._core, authorization(scope))
        return outcome if isinstance(outcome, Answer) else NOT_PERMITTED


def claims(scope: Scope) -> Claims:
    """The claims of the caller. LookupError where everybody is let in, or no guard was asked."""
    found = scope.get(KEY)
    if not isinstance(found, Claims):
        raise LookupError("payymo_guard: no token has let this request in")  # noqa: TRY004 - there are none
    return found


def authorization(scope: Scope) -> list[str]:
    """The values of a request's Authorization headers, each as it came."""
    return [value.decode("latin-1") for name, value in scope["headers"] if name.lower() == b"authorization"]


def route_path(scope: Scope, own_root: str = "") -> str | None:
    """The path that applications route on (below `root_path`); None if it can be read in more than one way.

    `own_root`: the application's, which takes the place of the server's.
    """
    path, root = str(scope["path"]), own_root or str(scope.get("root_path", ""))
    raw = scope.get("raw_path")
    if _is_ambiguous(path) or _AMBIGUOUS_RAW.search(path.encode() if raw is None else raw):
        return None
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :]
    return path


def _fastapi_in(app: object) -> object:
    """The FastAPI behind this and its middleware, if there is one: when it is called it may set its own `root_path`.

    It cuts that off whatever begins with it, and routes on the rest. What others call so is a folder.
    """
    seen = set[int]()
    while app is not None and id(app) not in seen:
        if any(kind.__module__.partition(".")[0] == "fastapi" for kind in type(app).__mro__):
            return app
        seen.add(id(app))
        app = getattr(app, "app", None)
    return None


def _is_ambiguous(path: str) -> bool:
    """Whether a decoded path has more than one reading. Also a whole URL, and whatever else begins without a slash."""
    return not path.startswith("/") or _AMBIGUOUS.search(path) is not None


async def refuse(answer: Answer, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the answer. A WebSocket is closed before it was accepted, with this answer where the server can send one."""
    prefix = ""
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1008})  # the server makes it a 403
            return
        prefix = "websocket."
    body = b"" if scope.get("method") == "HEAD" else answer.body
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": f"{prefix}http.response.start", "status": answer.status, "headers": headers})
    await send({"type": f"{prefix}http.response.body", "body": body})


def _method_of(scope: Scope) -> str:
    match scope["type"]:
        case "http":
            method = str(scope["method"])
            return "" if method == WEBSOCKET else method  # anybody can send a method of this name
        case "websocket":
            return WEBSOCKET
        case other:
            raise ValueError(f"payymo_guard: can't guard what is {other!r}")


def _methods(methods: Iterable[str] | None) -> frozenset[str] | None:
    if methods is None:
        return None
    found = frozenset([methods] if isinstance(methods, str) else methods)
    if not found or any(not method.isupper() for method in found):
        raise ValueError(f'methods are like "GET", one or more: {sorted(found)}')
    return found | {"HEAD"} if "GET" in found else found


def _segments(path: str) -> list[str]:
    """The parts of a pattern. Raises ValueError if it could never match, or could be read in two ways."""
    segments = path.split("/")
    named = [found[1] for found in map(_PARAMETER.fullmatch, segments) if found]
    plain = [part for part in segments if not _PARAMETER.fullmatch(part)]
    if plain[-1:] == [_REST] and segments[-1] == _REST:
        plain.pop()
    if len(set(named)) < len(named) or set("{}*") & set("".join(plain)) or _is_ambiguous(path):
        raise ValueError(f'a path is like "/invoices", "/t/{{tenant_id}}/invoices" or "/static/*": {path!r}')
    return segments


def _regex(segment: str) -> str:
    if segment == _REST:
        return ".*"
    named = _PARAMETER.fullmatch(segment)
    return f"(?P<{named[1]}>[^/]+)" if named else re.escape(segment)


def _covers(mine: str, other: str) -> bool:
    """Whether every segment that fits one pattern's part fits the other's."""
    return mine == other or (_PARAMETER.fullmatch(mine) is not None and other not in ("", _REST))
