"""The answers to writes that bore an `Idempotency-Key`, which the same key is answered again.

Requests are judged one after the other, so that the first is never still running when the second comes: a test that
wants `IDEMPOTENCY_IN_PROGRESS` has a fault say it.
"""

from collections import OrderedDict
from dataclasses import replace
from hashlib import sha256

from sandbox.call import Answer, Call
from sandbox.politicalcomms.refused import DEFINITIVE, PASSING, Refused, invalid
from sandbox.politicalcomms.settings import Idempotency

Slot = tuple[str, str, str, str]  # API key, method, path, idempotency key


class Replays:
    """The answers, oldest first."""

    def __init__(self, settings: Idempotency) -> None:
        self.settings = settings
        self._kept: OrderedDict[Slot, tuple[float, bytes, Answer]] = OrderedDict()

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()

    def find(self, key: str, call: Call) -> Answer | None:
        """The answer that this request was given before; raises `Refused` for a key of another body."""
        slot = self._slot(key, call)
        if slot is None:
            return None
        self._forget(call.at)
        kept = self._kept.get(slot)
        if kept is None:
            return None
        _, body, answer = kept
        if body != sha256(call.body).digest():
            raise Refused(409, "IDEMPOTENCY_KEY_REUSED", "The key was used for another body.")
        return replace(answer, headers={"Idempotent-Replay": "true"}, accepted=False)

    def keep(self, key: str, call: Call, answer: Answer, code: str = "") -> None:
        """Stores an answer that is final: a 2xx, or an error that would be the same again."""
        final = 200 <= answer.status < 300 or (answer.status in DEFINITIVE and code not in PASSING)
        slot = self._slot(key, call)
        if slot is not None and final:
            self._kept[slot] = (call.at, sha256(call.body).digest(), replace(answer, headers={}))

    def _slot(self, key: str, call: Call) -> Slot | None:
        given = call.headers.get("Idempotency-Key")
        if given is None or call.method == "GET":
            return None
        if not 1 <= len(given) <= self.settings.max_length:
            raise invalid("Idempotency-Key", f"must have 1 to {self.settings.max_length} characters.")
        return key, call.method, call.path, given

    def _forget(self, now: float) -> None:
        while self._kept:
            slot, (at, _, _) = next(iter(self._kept.items()))
            if now - at < self.settings.retention:
                return
            del self._kept[slot]
