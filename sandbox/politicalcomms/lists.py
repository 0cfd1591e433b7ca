"""Contact lists: imported while others wait, analysed for money, and not to be had while that runs."""

import asyncio
from collections.abc import Callable
from fnmatch import fnmatchcase
from math import ceil
from typing import Any

from sandbox.clock import Clock
from sandbox.ids import token
from sandbox.politicalcomms.bodies import ImportBody
from sandbox.politicalcomms.money import Purse
from sandbox.politicalcomms.refused import Refused, not_found
from sandbox.politicalcomms.settings import PoliticalCommsSettings
from sandbox.politicalcomms.source import Contacts, Unusable, fetch, made_up, read_contacts
from sandbox.politicalcomms.world import BRANDS, instant
from sandbox.schedule import Schedule

LINES = ("mobile", "landline", "voip", "invalid")


class ContactList:
    """One contact list. Times are Unix seconds."""

    def __init__(self, body: ImportBody, organization: str, at: float, key: str) -> None:
        self.id = "lst_" + token(16)
        self.body = body
        self.organization = organization
        self.key = key  # who imported it
        self.created_at = at
        self.status = "processing"
        self.completed_at: float | None = None
        self.contacts = Contacts()
        self.source = ""  # the file as it was imported
        self.analysis = "not_started"
        self.analyzed = 0
        self.queued = 0

    def short(self, generation: int) -> dict[str, Any]:
        """As the list endpoint and the import answer it."""
        name = "list_id" if generation == 2 else "id"
        rows = self.contacts.total if self.status == "ready" else None
        return {
            name: self.id,
            "name": self.body.list_name,
            "status": self.status,
            "total_rows": rows,
            "imported_via_api": True,
        }

    def listed(self) -> dict[str, Any]:
        """As an item of GET /contact-lists."""
        kept = {"org_id": self.organization, "brand_id": self.body.brand_id, "created_at": instant(self.created_at)}
        return {"id": self.id} | {k: v for k, v in self.short(1).items() if k != "id"} | kept

    def whole(self, generation: int) -> dict[str, Any]:
        """As GET /contact-lists/{id} answers it."""
        found, ready = self.contacts, self.status == "ready"
        done = None if self.completed_at is None else instant(self.completed_at)
        analysis: dict[str, Any] = {"status": self.analysis, "analyzed_numbers": self.analyzed}
        if self.analyzed:
            analysis["breakdown"] = self.breakdown()
        url = f"/v1/contact-lists/{self.id}/download?type="
        analyzed = url + "analyzed" if self.analysis == "complete" else None
        return {
            "list_id" if generation == 2 else "id": self.id,
            "name": self.body.list_name,
            "brand_id": self.body.brand_id,
            "organization_id" if generation == 2 else "org_id": self.organization,
            "imported_via_api": True,
            "created_at": instant(self.created_at),
            "available_merge_tags": list(found.tags),
            "import": {
                "status": self.status,
                "progress": 100 if ready else 10,
                "total_rows": found.total if ready else None,
                "total_contacts": found.total if ready else None,
                "clean_contacts": len(found.rows) if ready else None,
                "duplicate_count": found.duplicates if ready else None,
                "bad_number_count": found.bad if ready else None,
                "opted_out_count": found.opted_out if ready else None,
                "processing_started_at": instant(self.created_at),
                "processing_completed_at": done,
            },
            "analysis": analysis,
            "downloads": {"original_url": url + "original", "analyzed_url": analyzed},
        }

    def breakdown(self) -> dict[str, int]:
        """How many of the analysed numbers are of which line."""
        counts = dict.fromkeys(LINES, 0)
        for phone, _ in self.contacts.rows[: self.analyzed]:
            counts[line_of(phone)] += 1
        return counts


def line_of(phone: str) -> str:
    """The line of a number, by its last two digits: 88 of 100 are mobile."""
    last = int(phone[-2:])
    return "mobile" if last < 88 else "landline" if last < 95 else "voip" if last < 99 else "invalid"


class Lists:
    """All contact lists."""

    def __init__(
        self, settings: PoliticalCommsSettings, clock: Clock, purse: Purse, analyzed: Callable[[ContactList], None]
    ) -> None:
        self.settings = settings
        self.opted_out: set[str] = set()
        self._clock = clock
        self._purse = purse
        self._analyzed = analyzed
        self._lists: dict[str, ContactList] = {}
        self._imports: Schedule[ContactList] = Schedule(clock, self._import)
        self._analyses: Schedule[ContactList] = Schedule(clock, self._complete)
        self._fetches: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begins to work."""
        self._imports.start()
        self._analyses.start()

    async def stop(self) -> None:
        """Stops, and breaks off what is being fetched."""
        self._imports.stop()
        self._analyses.stop()
        for task in self._fetches:
            task.cancel()
        await asyncio.gather(*self._fetches, return_exceptions=True)

    def clear(self) -> None:
        """Forgets all lists."""
        self._lists.clear()
        self._imports.clear()
        self._analyses.clear()
        self.opted_out.clear()

    def of(self, reach: list[str], brand: str | None) -> list[ContactList]:
        """Those of some organizations."""
        return [one for one in self._lists.values() if one.organization in reach and brand in (None, one.body.brand_id)]

    def get(self, id_: str, reach: list[str]) -> ContactList:
        """One; raises `Refused`."""
        found = self._lists.get(id_)
        if found is None or found.organization not in reach:
            raise not_found()
        return found

    def begin(self, body: ImportBody, organization: str, at: float, key: str) -> ContactList:
        """Takes an import on."""
        if body.brand_id is not None and BRANDS.get(body.brand_id) != organization:
            raise Refused(400, "BRAND_ORG_MISMATCH")
        made = ContactList(body, organization, at, key)
        self._lists[made.id] = made
        self._imports.add(at + self.settings.imports.seconds, made)
        return made

    def analyze(self, one: ContactList, at: float) -> tuple[int, dict[str, Any]]:
        """The status and data that the order for an analysis is answered with."""
        if one.status != "ready":
            raise Refused(409, "CONFLICT", "The list is not ready.")
        if one.analysis == "processing":
            return 202, self._ordered(one, 0.0, one.queued)
        left = len(one.contacts.rows) - one.analyzed
        if not left:
            one.analysis = "complete"
            return 200, {"list_id": one.id, "cost_cents": 0, "analysis": {"status": "complete", "numbers_queued": 0}}
        cost = left * self.settings.prices.lookup
        self._purse.pay(cost, "carrier_lookup", left, one.organization, at)
        one.analysis, one.queued = "processing", left
        self._analyses.add(at + self.settings.analysis.seconds, one)
        return 202, self._ordered(one, cost, left)

    def delete(self, one: ContactList) -> None:
        """Forgets one."""
        del self._lists[one.id]

    def _ordered(self, one: ContactList, cost: float, numbers: int) -> dict[str, Any]:
        seconds = ceil(self.settings.analysis.seconds)
        analysis = {"status": "processing", "numbers_queued": numbers, "estimated_completion_seconds": seconds}
        return {"list_id": one.id, "cost_cents": cost, "analysis": analysis}

    def _import(self, one: ContactList, when: float) -> None:
        rules, url = self.settings.imports, one.body.source_url
        if any(fnmatchcase(url, glob) for glob in rules.fail):
            one.status, one.completed_at = "failed", when
        elif url in rules.files:
            self._take(one, rules.files[url], when)
        else:
            task = asyncio.get_running_loop().create_task(self._fetch(one))
            self._fetches.add(task)
            task.add_done_callback(self._fetches.discard)

    async def _fetch(self, one: ContactList) -> None:
        rules = self.settings.imports
        try:
            self._take(one, await fetch(one.body.source_url, rules.max_bytes), self._clock.now())
        except Unusable:
            if rules.unreachable_rows:
                self._take(one, made_up(rules.unreachable_rows), self._clock.now(), invented=True)
            else:
                one.status, one.completed_at = "failed", self._clock.now()

    def _take(self, one: ContactList, text: str, when: float, *, invented: bool = False) -> None:
        rules, tags = self.settings.imports, None if invented else one.body.merge_tags
        one.completed_at = when
        if len(text.encode()) > rules.max_bytes:
            one.status = "failed"
            return
        try:
            one.contacts = read_contacts(
                text, one.body.phone_column, tags, self.opted_out, rules.max_rows, any_column=invented
            )
            one.source, one.status = text, "ready"
        except Unusable:
            one.status = "failed"

    def _complete(self, one: ContactList, _: float) -> None:
        if any(fnmatchcase(one.body.list_name, glob) for glob in self.settings.analysis.fail):
            one.analysis = "failed"
            return
        one.analysis, one.analyzed = "complete", one.analyzed + one.queued
        self._analyzed(one)
