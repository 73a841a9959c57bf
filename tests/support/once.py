"""What is computed once per process, though thousands of services are built in it. None of it can be seen by a test.

A service compiles its URL rules and its statements, each as it first needs it. Here that was most of what a test took.
All three are the inner doings of libraries: should a newer version of one not know them, then tests say so at once, or
are only slower.
"""

import gc
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.util import LRUCache
from werkzeug.routing import Rule

STATEMENTS = 2_000

COMPILED = ("_parts", "_trace", "_converters", "arguments", "_build", "_build_unknown")
"""What compiling leaves in a rule. Nothing changes any of it later."""

_rules: dict[object, dict[str, Any]] = {}
_compile_rule = Rule.compile


def compile_once() -> None:
    """From here on, rules and statements that are alike are compiled once, whatever application or engine asks."""
    Rule.compile = _remembered_rule
    # A statement is known by its dialect, too. All of a kind are alike: there is one server of each for all tests.
    DefaultDialect.__eq__ = _is_alike
    DefaultDialect.__hash__ = _hash_of_kind
    statements: LRUCache[Any, Any] = LRUCache(STATEMENTS)
    Engine._compiled_cache = property(lambda _engine: statements, lambda _engine, _own: None)


def leave_alone_what_is_here() -> None:
    """Never look through modules, rules and tests for garbage again: that took half a second, every few tests."""
    gc.collect()
    gc.freeze()


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


def _is_alike(one: DefaultDialect, other: object) -> bool:
    return type(one) is type(other)


def _hash_of_kind(dialect: DefaultDialect) -> int:
    return hash(type(dialect))
