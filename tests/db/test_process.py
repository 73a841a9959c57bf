"""A process that forks after it has used the database, as an application under gunicorn's --preload does."""

import subprocess
import sys

from tests.support.house import Database

PROGRAM = """
import ctypes, os, sys
import sqlalchemy as sa
from payymo.db.question import Question
from payymo.db.work import connect
from payymo.db.counters import counters_engine

engine, counters = connect(sys.argv[1]), counters_engine(sys.argv[2])
question = Question(engine, sa.select(sa.literal(1)))

def connections():
    '''What the next transaction, the next question and the next count run on.'''
    found = []
    for one in (engine, counters):
        with one.connect() as connection:
            connection.exec_driver_sql("SELECT 1")
            found.append(connection.connection.dbapi_connection)
    question.ask()
    return [*found, question._idle[-1].dbapi_connection]

def child(fork):
    '''On how many of ours a forked child runs, too; it is ended by a signal if it takes too long.'''
    reading, writing = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            import signal
            signal.alarm(60)
            os.write(writing, str(shared()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as said:
        answer = said.read()
    os.waitpid(pid, 0)
    return answer

def shared():
    return sum(one is other for one, other in zip(mine, connections(), strict=True))

mine = connections()
print(child(os.fork), child(ctypes.CDLL(None).fork), child(os.fork), shared())
"""


def test_a_child_has_connections_of_its_own(database: Database) -> None:
    """Two that speak over one read each other's answers, whoever they are about; the parent's stays the parent's.

    Also after a fork that Python was not told of.
    """
    words = [sys.executable, "-c", PROGRAM, database.url, f"sqlite:///{database.data / 'counters.db'}"]
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["0", "0", "0", "3"], done.stderr
