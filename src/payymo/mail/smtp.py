"""SMTP whose answers are whole in time: a time-out of the library is for each wait for an octet.

A server that holds unwelcome senders up gives one now and then, for minutes, and one that is broken may go on for ever.
Meanwhile other processes would have taken the letter for nobody's, and be held up, too.
"""

import smtplib
import socket
import time
from typing import Final

ANSWER_MAX: Final = 65_536
"""Octets of an answer: no server has more to say (RFC 5321 §4.5.3.1.5 has 512 for a line)."""
_PIECE: Final = 4096


class Lines:
    """What a server says, line by line: `smtplib` reads from it as from a file."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._seconds = seconds
        self._held = b""
        self._left = ANSWER_MAX
        self._ends_at = 0.0

    def begin(self) -> None:
        """An answer is waited for, from now on."""
        self._left, self._ends_at = ANSWER_MAX, time.monotonic() + self._seconds

    def readline(self, most: int) -> bytes:
        """The next line, or as much of it; empty at the end. Raises OSError: it is late, or too long."""
        while b"\n" not in self._held[:most] and len(self._held) < most:
            piece = self._receive()
            if not piece:
                break
            self._held += piece
        end = self._held.find(b"\n", 0, most) + 1 or most
        line, self._held = self._held[:end], self._held[end:]
        self._left -= len(line)
        if self._left < 0:
            raise OSError("the answer has no end")
        return line

    def close(self) -> None:
        """The socket is closed by who has opened it."""

    def _receive(self) -> bytes:
        remaining = self._ends_at - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        try:
            return self._sock.recv(_PIECE)
        finally:
            self._sock.settimeout(self._seconds)


class Smtp(smtplib.SMTP):
    """A connection that is plain at first."""

    def getreply(self) -> tuple[int, bytes]:
        """The next answer."""
        _await(self)
        return super().getreply()


class SmtpTls(smtplib.SMTP_SSL):
    """One that is encrypted from the beginning."""

    def getreply(self) -> tuple[int, bytes]:
        """The next answer."""
        _await(self)
        return super().getreply()


def _await(server: smtplib.SMTP) -> None:
    """What was held from before STARTTLS is dropped with its reader: somebody may have slipped it in (RFC 3207 §6)."""
    if server.file is None and server.sock is not None:
        server.file = Lines(server.sock, server.timeout)
    if server.file is not None:
        server.file.begin()
