"""What an acquire costs: `python -m benchmarks.limits redis://…` on a limit whose log is full."""

import sys
import time
from uuid import uuid4

from redis import Redis

from paceline.limit import Limit
from worker.limits import Bucket, Image, LaneLimits, Limiter, Spent, Unseeded, signature_of

CALLS = 10_000


def main(url: str) -> None:
    """Print acquires a second from one client, the server's part of each, and the size of the log."""
    redis, prefix = Redis.from_url(url), f"bench-{uuid4().hex}:"
    lane = LaneLimits("key", "send", (Bucket.of(Limit.parse("1000000/hour")),))
    limiter, signature = Limiter(redis, prefix), signature_of([lane])
    full = Image(tuple(Spent("send", second * 3.55 + 1, 10, 10) for second in range(1014)))
    limiter.seed([lane], signature=signature, expected=None, nonce="n", image=full)
    redis.config_resetstat()
    began = time.perf_counter()
    for number in range(CALLS):
        granted = limiter.acquire(
            lane,
            signature=signature,
            nonce="n",
            caller="bench",
            operation_id=str(number),
            high=0,
            rest=1,
            probe_hold=30,
        )
        assert not isinstance(granted, Unseeded)
    took = time.perf_counter() - began
    log = f"{prefix}{{key}}:log:send/1000000/hour"
    script = redis.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
    print(f"{CALLS / took:,.0f} acquires/s from one client; {script} µs each in the server")
    print(f"{redis.llen(log)} entries in a full log, {redis.memory_usage(log, samples=0):,} bytes")
    for name in redis.scan_iter(f"{prefix}*"):
        redis.delete(name)


if __name__ == "__main__":
    main(sys.argv[1])
