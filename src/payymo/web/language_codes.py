"""Codes of languages in requests: a closed list, which is known once somebody asks for it.

Not when modules are loaded: each catalogue is compiled before its language counts.
"""

from typing import Any

from pydantic import GetJsonSchemaHandler
from pydantic_core import CoreSchema, PydanticKnownError

from payymo.languages import list_languages


def known(code: str) -> str:
    """The code. Raises what pydantic says of any other closed list."""
    codes = [repr(one) for one in list_languages()]
    if repr(code) not in codes:
        raise PydanticKnownError("literal_error", {"expected": " or ".join([", ".join(codes[:-1]), codes[-1]])})
    return code


class Listed:
    """Marks a member as one of them, for the OpenAPI document."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The codes."""
        return {**handler(schema), "enum": list(list_languages())}
