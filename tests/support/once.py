"""What is computed once per process, though thousands of services are built in it. None of it can be seen by a test.

A service compiles its URL rules and its statements, each as it first needs it. Here that was most of what a test took.
All are the inner doings of libraries: should a newer version of one not know them, then tests say so at once, or are
only slower.
"""

import gc
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql import Select
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

STATEMENTS = 2_000
COLLECT_AFTER = (20_000, 20, 20)

COMPILED = ("_parts", "_trace", "_converters", "arguments", "_build", "_build_unknown")
"""What compiling leaves in a rule. Nothing changes any of it later."""

_rules: dict[object, dict[str, Any]] = {}
_compile_rule = Rule.compile
_texts: LRUCache[Any, Any] = LRUCache(STATEMENTS)
_compiler_of = Select._compiler


def compile_once() -> None:
    """From here on, rules and statements that are alike are compiled once, whatever application or engine asks."""
    gc.disable()  # nothing that is imported becomes garbage
    Rule.compile = _remembered_rule
    Select._compiler = _remembered_compiler
    rsa.generate_private_key = SPARE_KEYS
    # A statement is known by its dialect, too. All of a kind are alike: there is one server of each for all tests.
    DefaultDialect.__eq__ = _is_alike
    DefaultDialect.__hash__ = _hash_of_kind
    statements: LRUCache[Any, Any] = LRUCache(STATEMENTS)
    Engine._compiled_cache = property(lambda _engine: statements, lambda _engine, _own: None)


class SpareKeys:
    """RSA keys, of which each takes as long as twenty requests. No test is given one twice, or one of what outlives it.

    Made anew unless it is said that whatever uses them ends with the test; then each test gets those of the one before.
    """

    def __init__(self) -> None:
        self._generate = rsa.generate_private_key
        self._made: defaultdict[tuple[int, int], list[rsa.RSAPrivateKey]] = defaultdict(list)
        self._given: Counter[tuple[int, int]] = Counter()
        self._are_given = False
        self._lock = threading.Lock()

    def begin(self, *, are_given: bool) -> None:
        """A new test."""
        self._given.clear()
        self._are_given = are_given

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What is made meanwhile is there for all tests, and given to none."""
        before, self._are_given = self._are_given, False
        try:
            yield
        finally:
            self._are_given = before

    def __call__(self, public_exponent: int, key_size: int, backend: Any = None) -> rsa.RSAPrivateKey:
        """As the function of this name in `cryptography`."""
        if not self._are_given:
            return self._generate(public_exponent, key_size, backend)
        kind = (public_exponent, key_size)
        with self._lock:
            made, number = self._made[kind], self._given[kind]
            self._given[kind] += 1
            if number == len(made):
                made.append(self._generate(public_exponent, key_size, backend))
            return made[number]


SPARE_KEYS = SpareKeys()


def leave_alone_what_is_here() -> None:
    """Never look through modules, rules and tests for garbage again: that took half a second, every few tests.

    For what comes to be from now on, look less often than is usual: a request makes thousands of objects that stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    gc.enable()


def _remembered_rule(rule: Rule) -> None:
    """What a path is taken apart with, and put together. It is made of nothing but what is in this key."""
    by_map = (rule.map.host_matching, tuple(rule.map.converters.items()))
    key = (rule.rule, rule.merge_slashes, rule.subdomain, rule.host, type(rule), by_map)
    found = None if rule.defaults else _rules.get(key)
    if found is None:
        _compile_rule(rule)
        if not rule.defaults:
            _rules[key] = {name: vars(rule)[name] for name in COMPILED}
        return
    vars(rule).update(found, arguments=set(found["arguments"]))
    for name in ("_build", "_build_unknown"):
        setattr(rule, name, found[name].__func__.__get__(rule))


def _remembered_compiler(statement: Select[Any], dialect: DefaultDialect, **options: Any) -> Any:
    """The text of a statement, for who asks for it without an engine."""
    found = None if options else _texts.get((statement, dialect))
    if found is None:
        found = _compiler_of(statement, dialect, **options)
        if not options:
            _texts[statement, dialect] = found
    return found


def _is_alike(one: DefaultDialect, other: object) -> bool:
    return type(one) is type(other)


def _hash_of_kind(dialect: DefaultDialect) -> int:
    return hash(type(dialect))
