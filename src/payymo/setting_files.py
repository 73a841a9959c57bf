"""The folder of secret files that settings are read from: whoever can put a file there decides what they are."""

import codecs
from collections.abc import Collection, Iterator
from pathlib import Path

from payymo.errors import Misconfigured
from payymo.files import require_private, require_private_folder

FOLDER = "PAYYMO_SECRETS_DIR"


def faults_of_files(folder: str, prefix: str, known: Collection[str]) -> Iterator[str]:
    """What is wrong there, and what to do. `known`: the settings and groups that there are."""
    if not folder:  # it would be the one that the service happens to be started in
        yield f"{FOLDER}: is empty. Name a folder, or leave it out"
        return
    try:
        require_private_folder(Path(folder))
        for path in sorted(Path(folder).iterdir()):
            if path.name.lower().startswith(prefix.lower()):
                require_private(path, group_may_read=True)
                head = path.name.lower().removeprefix(prefix.lower()).split("__")[0]
                if head not in known:
                    yield f"{folder}: the file {path.name} is not a setting"
            if path.is_file():  # all are read, also those of others
                yield from _faults_of_text(path)
    except Misconfigured as error:
        yield from error.reasons


def _faults_of_text(path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes()
        content.decode()
    except OSError as error:
        yield f"{path}: can't be read ({error.strerror})"
    except UnicodeDecodeError:
        yield f"{path}: not a text in UTF-8. Files that are no settings belong into another folder"
    else:
        if content.startswith(codecs.BOM_UTF8):  # a part of the password, and invisible
            yield f"{path}: begins with a byte order mark. Save it without"
