"""`python -m sandbox`: serves all providers until it is told to stop."""

import argparse
import os
import ssl
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.model import SettingsError
from sandbox.server import run, tls_context
from sandbox.settings import Settings, load_settings, parse_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 stopped, 1 could not serve, 2 wrong use."""
    options = _parser().parse_args(arguments)
    try:
        host, port = _address(options.bind)
        settings = load_settings(options.settings) if options.settings else parse_settings({})
        tls = _tls(options.certfile, options.keyfile)
    except SettingsError as error:
        return _fail(str(error), 2)
    return _run(settings, host, port, options.ledger, tls)


def _run(settings: Settings, host: str, port: int, ledger_file: Path | None, tls: ssl.SSLContext | None) -> int:
    try:
        run(settings, host, port, ledger_file=ledger_file, tls=tls)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        if error.filename is not None:
            return _fail(f"The ledger file {error.filename} cannot be opened: {reason}. Give another with --ledger.", 1)
        return _fail(f"Cannot listen on {host}:{port}: {reason}. Give another address with --bind.", 1)
    except ValueError as error:
        return _fail(str(error), 1)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="The providers' APIs, with faults on request."
    )
    parser.add_argument("--bind", default="127.0.0.1:8900", metavar="HOST:PORT", help="default: %(default)s")
    parser.add_argument("--settings", type=Path, metavar="FILE.toml", help="a table for each provider")
    parser.add_argument("--ledger", type=Path, metavar="FILE.jsonl", help="where arrivals are kept, and taken up again")
    parser.add_argument("--certfile", type=Path, metavar="FILE", help="serve TLS with this certificate")
    parser.add_argument("--keyfile", type=Path, metavar="FILE", help="its key, if the certificate's file has none")
    return parser


def _address(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise SettingsError(f"--bind {bind} is not HOST:PORT, such as 127.0.0.1:8900.")
    return host, int(port)


def _tls(certfile: Path | None, keyfile: Path | None) -> ssl.SSLContext | None:
    if certfile is None:
        if keyfile is not None:
            raise SettingsError("--keyfile needs --certfile.")
        return None
    try:
        return tls_context(certfile, keyfile)
    except OSError as error:
        raise SettingsError(f"The certificate or its key is no use: {error.strerror or error}.") from None


def _fail(sentence: str, status: int) -> int:
    sys.stderr.write(f"sandbox: {sentence}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
