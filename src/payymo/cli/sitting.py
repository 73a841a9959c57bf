"""Who sits at the command line, for the record: the account that logged in to this machine, whoever it became since."""

import os
import pwd
from contextlib import suppress
from pathlib import Path
from typing import Final

LOGIN: Final = Path("/proc/self/loginuid")
"""Linux keeps there who logged in, through `sudo` and `su`, and lets nobody but root change it."""
NOBODY: Final = 2**32 - 1
"""What stands there when nobody did: a service, or `cron` without a session."""
LONGEST: Final = 32


def operator_name() -> str:
    """The name of that account, or its number, where it has no plain one. Variables say nothing: anybody sets them."""
    number = _number()
    try:
        name = pwd.getpwuid(number).pw_name
    except (KeyError, OverflowError):
        name = ""
    is_plain = name.isascii() and name.isprintable() and " " not in name
    return name if is_plain and 0 < len(name) <= LONGEST else str(number)


def _number() -> int:
    with suppress(OSError, ValueError):
        if (number := int(LOGIN.read_text("ascii"))) != NOBODY:
            return number
    return os.getuid()
