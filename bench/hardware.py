"""What signing in a hardware token costs beside signing in the process. SoftHSM plays the token, on the same cores."""

from bench.measure import Effort, Figure, interleave, milliseconds, ratio, timed
from bench.scene import Stage
from payymo.entropy import Entropy
from payymo.keys import signer
from payymo.keys.hardware import HardwareKeys
from tests.support.softhsm import LABEL, softhsm

MESSAGE = b"x" * 600
"""About as long as what is signed of an access token."""
REPEAT = 20


def signing(_stage: Stage, effort: Effort) -> list[Figure]:
    """RS256 with RSA-3072, one signature after the other, through SoftHSM and in the process."""
    with softhsm() as hsm:
        place = HardwareKeys(f"pkcs11:token={LABEL}", hsm.access, Entropy())
        _, location = place.make("RS256")
        within, outside = place.signer(location, "RS256"), signer.signer(signer.generate("RS256"), "RS256")
        found = interleave(
            {
                "token": timed(lambda: within(MESSAGE), repeat=REPEAT),
                "process": timed(lambda: outside(MESSAGE), repeat=REPEAT),
            },
            rounds=effort.rounds,
        )
    name = "time to sign through SoftHSM / in the process"
    return [Figure(name, ratio(found, "token", "process"), "x", parts=milliseconds(found))]
