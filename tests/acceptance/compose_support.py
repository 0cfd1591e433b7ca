"""docker-compose.yml without Docker: each service's command, environment and health check, run here as they stand.

Host names of the compose network become loopback, and its ports become free ones; the image is the files that the
Dockerfile copies. What a container would add is a host name of its own, which `sitecustomize` gives each service.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.acceptance.commands_support import ROOT, START
from tests.support.ports import free_port

FILE = ROOT / "docker-compose.yml"
PORTS = (6379, 8085, 9185, 5555, 8900)
HOSTS = re.compile(r"(?<=//)(redis|sandbox)(?=:)")
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
HOST_NAME = "CONTAINER_HOST_NAME"
SITE = f"import os, socket\nsocket.gethostname = lambda: os.environ.get({HOST_NAME!r}, 'localhost')\n"


def env_file(path: Path) -> dict[str, str]:
    """The variables of an env file."""
    lines = (line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name: value for name, _, value in lines}


def read(environment: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with its variables filled in."""

    def value(match: re.Match[str]) -> str:
        name, operator, rest = match.groups()
        found = environment.get(name, "")
        assert found or operator != "?", f"{name}: {rest}"
        return found or rest or ""

    document: dict[str, Any] = YAML(typ="safe").load(VARIABLE.sub(value, FILE.read_text()))
    return document


def seconds(duration: str) -> float:
    """A duration as the specification writes it, of one unit."""
    return float(duration[:-1]) * {"s": 1, "m": 60, "h": 3600}[duration[-1]]


def dockerfile() -> dict[str, str]:
    """The last instruction of each kind in the Dockerfile's last stage."""
    stage = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text()).rpartition("\nFROM ")[2]
    lines = (line.partition(" ") for line in stage.splitlines())
    return {name: rest for name, _, rest in lines if name.isupper()}


def image(directory: Path) -> Path:
    """The files that `COPY . .` takes."""
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    directory.mkdir()
    for name in kept:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, directory)
    return directory


@dataclass
class Host:
    """This machine in the place of the compose network. `more` is what stands for the containers' own names."""

    directory: Path
    services: dict[str, Any]
    path: str
    more: Mapping[str, str]
    ports: dict[int, int] = field(default_factory=lambda: {port: free_port() for port in PORTS})

    def __post_init__(self) -> None:
        self.image = image(self.directory / "image")
        for name in ("bin", "site", "log"):
            (self.directory / name).mkdir()
        (self.directory / "site/sitecustomize.py").write_text(SITE)
        self.config = self.directory / "paceline.toml"
        self.config.write_text(self.here((ROOT / "docker/paceline.toml").read_text()))
        self.program("paceline", 'exec python -m paceline.cli "$@"')

    def program(self, name: str, script: str) -> None:
        """Put a program on the services' path."""
        file = self.directory / "bin" / name
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def here(self, text: str) -> str:
        """The same with addresses on this machine."""
        text = HOSTS.sub("127.0.0.1", text).replace("@postgres/", "@/")
        for port, free in self.ports.items():
            text = re.sub(rf"(?<=:){port}\b", str(free), text)
        return text

    def environment(self, service: str, replica: int) -> dict[str, str]:
        """What the service's processes find, and nothing of this process'."""
        told = self.services[service]
        from_file = env_file(ROOT / "docker/env.example") if "env_file" in told else {}
        given = {**from_file, **told.get("environment", {})}
        return {
            **dict(item.split("=", 1) for item in dockerfile()["ENV"].split()),
            **{name: self.here(str(value)) for name, value in given.items()},
            **self.more,
            "PATH": f"{self.directory}/bin:{self.path}",
            "PACELINE_CONFIG": str(self.config),
            "PYTHONPATH": str(self.directory / "site"),
            HOST_NAME: f"{service}-{replica}",
        }

    def run(self, service: str, *command: str, replica: int = 1) -> "subprocess.CompletedProcess[str]":
        """`docker compose exec`, or `run` where no command is given."""
        return subprocess.run(
            self._command(service, command),
            cwd=self.image,
            env=self.environment(service, replica),
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )

    @contextmanager
    def up(self, service: str, *more: str, replica: int = 1) -> Iterator["subprocess.Popen[bytes]"]:
        """The service's process; it is told to stop at the end, and has the time that its service has."""
        log = self.directory / "log" / f"{service}-{replica}"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*self._command(service), *more],
                cwd=self.image,
                env=self.environment(service, replica),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(timeout=seconds(self.services[service].get("stop_grace_period", f"{START:g}s")))
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)  # what it left behind, if it ended badly

    def health(self, service: str, replica: int = 1) -> "subprocess.CompletedProcess[str]":
        """The service's own health check, once; how long it may take is for a machine that has nothing else to do."""
        kind, *test = self.services[service]["healthcheck"]["test"]
        if service == "postgres":  # here it listens on a socket alone
            test = [self.more["PGHOST"] if part == "127.0.0.1" else part for part in test]
        command = ["/bin/sh", "-c", *test] if kind == "CMD-SHELL" else test
        return subprocess.run(
            [self.here(part) for part in command],
            cwd=self.image,
            env=self.environment(service, replica),
            capture_output=True,
            text=True,
            timeout=START,
            check=False,
        )

    def wait_until_healthy(self, service: str, replica: int = 1) -> None:
        """Return once the health check says so."""
        end = time.monotonic() + START
        while (found := self.health(service, replica)).returncode != 0:
            log = (self.directory / "log" / f"{service}-{replica}").read_text()
            assert time.monotonic() < end, f"{service}: {found.stdout}{found.stderr}\n{log}"

    def files(self) -> set[Path]:
        """What is in the image now."""
        return set(self.image.rglob("*"))

    def _command(self, service: str, command: tuple[str, ...] = ()) -> list[str]:
        words = [self.here(str(word)) for word in command or self.services[service]["command"]]
        if self.services[service]["image"] != "paceline":
            return words
        return [str(self.image / "docker/entrypoint.sh"), *words]


@contextmanager
def everything(host: Host, workers: int) -> Iterator[dict[str, "subprocess.Popen[bytes]"]]:
    """All services but the database in the order of their dependencies, each healthy; `migrate` has run."""
    with ExitStack() as stack:
        running = {}
        listening = ("--port", str(host.ports[6379]), "--dir", str(host.directory))
        running["redis"] = stack.enter_context(host.up("redis", *listening))
        host.wait_until_healthy("redis")
        migrated = host.run("migrate")
        assert migrated.returncode == 0, migrated.stderr
        replicas = {"worker": workers, "beat": 1, "hooks": 1, "flower": 1, "sandbox": 1}
        all_of_them = [(service, number + 1) for service, count in replicas.items() for number in range(count)]
        for service, replica in all_of_them:
            running[f"{service}-{replica}"] = stack.enter_context(host.up(service, replica=replica))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda each: host.wait_until_healthy(*each), all_of_them))
        yield running
