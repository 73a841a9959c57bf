"""Files with secrets in them: made for their owner alone, and refused when somebody else could read or put them."""

import os
import stat
from pathlib import Path

from payymo.entropy import Entropy
from payymo.errors import Misconfigured


def make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter, if it is not there. Raises Misconfigured."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured([f"{folder}: this folder can't be made ({error.strerror})"]) from None


def write_once(path: Path, content: bytes, entropy: Entropy) -> bool:
    """Write a file that its owner alone may read: the whole of it, or nothing. False: one is there, and stays.

    Raises OSError.
    """
    draft = path.with_name(f".{path.name}.{entropy.token(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def read_private(path: Path, *, group_may_read: bool = False) -> bytes:
    """The content of a file that others can't read or write. Its group may read it where containers are given it so.

    Raises Misconfigured with the remedy.
    """
    require_private(path, group_may_read=group_may_read)
    try:
        return path.read_bytes()
    except OSError as error:
        raise Misconfigured([f"{path}: can't be read ({error.strerror})"]) from None


def read_bounded(path: Path, size: int) -> bytes:
    """The content of a file that anybody may read, of at most `size` bytes. Raises Misconfigured."""
    try:
        with path.open("rb") as file:
            content = file.read(size + 1)
    except OSError as error:
        raise Misconfigured([f"{path}: can't be read ({error.strerror})"]) from None
    if len(content) > size:
        raise Misconfigured([f"{path}: more than {size} bytes"])
    return content


def require_private(path: Path, *, group_may_read: bool = False) -> None:
    """Raise Misconfigured when it is no file, or somebody else can read it, or write it."""
    try:
        facts = path.stat()
    except OSError as error:
        raise Misconfigured([f"{path}: can't be read ({error.strerror})"]) from None
    if not stat.S_ISREG(facts.st_mode):
        raise Misconfigured([f"{path}: not a file"])
    _require_owner(path, facts)
    if stat.S_IMODE(facts.st_mode) & (0o027 if group_may_read else 0o077):
        raise Misconfigured([f"{path}: readable or writable by others. Repair it with: chmod 600 {path}"])


def require_private_folder(folder: Path) -> None:
    """Raise Misconfigured when it is no folder, or others may put files there: they would decide what is read."""
    if not folder.is_dir():
        raise Misconfigured([f"{folder}: there is no such folder. Make it with: mkdir -m 700 {folder}"])
    facts = folder.stat()
    _require_owner(folder, facts)
    is_read_only = os.statvfs(folder).f_flag & os.ST_RDONLY  # as containers are given secrets, whatever the mode says
    if stat.S_IMODE(facts.st_mode) & 0o022 and not is_read_only:
        raise Misconfigured([f"{folder}: others may put files there. Repair it with: chmod 700 {folder}"])


def _require_owner(path: Path, facts: os.stat_result) -> None:
    if facts.st_uid not in {os.geteuid(), 0}:
        raise Misconfigured([f"{path}: belongs to somebody else. Repair it with: chown {os.geteuid()} {path}"])
