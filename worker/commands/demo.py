"""`paceline demo`: a private installation, the sandbox as its provider, and proof of what arrived there."""

import fcntl
import http.client
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from sqlalchemy import Engine, func, select

from config.settings import Settings
from paceline.broker import redis_client
from paceline.connection import private_directory
from paceline.database import read
from paceline.errors import PacelineError
from paceline.status import Status
from worker import schema, wiring
from worker.app import client_of, topology_of
from worker.commands import demo_plan
from worker.commands.context import CHECKOUT, database, settings_of
from worker.commands.demo_view import DemoView
from worker.commands.up import WIDTH, everything
from worker.limits import Limiter
from worker.output import Printer
from worker.supervisor import Supervisor
