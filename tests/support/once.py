"""What is computed once per process, though thousands of services are built in it. None of it can be seen by a test.

A service compiles its URL rules and its statements, each as it first needs it. Here that was most of what a test took.
All three are the inner doings of libraries: should a newer version of one not know them, then tests say so at once, or
are only slower.
"""

import gc
from collections.abc import Callable
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

STATEMENTS = 2_000

Builder = Callable[..., tuple[str, str]]

_builders: dict[object, Builder] = {}
_compile_builder = Rule._compile_builder


def compile_once() -> None:
    """From here on, rules and statements that are alike are compiled once, whatever application or engine asks."""
    Rule._compile_builder = _remembered_builder
    # A statement is known by its dialect, too. All of a kind are alike: there is one server of each for all tests.
    DefaultDialect.__eq__ = _is_alike
    DefaultDialect.__hash__ = _hash_of_kind
    statements: LRUCache[Any, Any] = LRUCache(STATEMENTS)
    Engine._compiled_cache = property(lambda _engine: statements, lambda _engine, _own: None)


def leave_alone_what_is_here() -> None:
    """Never look through modules, rules and tests for garbage again: that took half a second, every few tests."""
    gc.collect()
    gc.freeze()


def _remembered_builder(rule: Rule, append_unknown: bool = True) -> Builder:  # noqa: FBT001, FBT002 - not our signature
    """What turns values into a path. It is made of nothing but what is in this key, and handed the rule later."""
    if rule.defaults:
        return _compile_builder(rule, append_unknown)
    key = (rule.rule, append_unknown, tuple(rule._trace))
    found = _builders.get(key)
    if found is None:
        found = _builders[key] = _compile_builder(rule, append_unknown)
    return found


def _is_alike(one: DefaultDialect, other: object) -> bool:
    return type(one) is type(other)


def _hash_of_kind(dialect: DefaultDialect) -> int:
    return hash(type(dialect))
