"""Media files: optimised while others wait."""

from fnmatch import fnmatchcase
from typing import Any

from sandbox.clock import Clock
from sandbox.ids import token
from sandbox.politicalcomms.bodies import MediaBody
from sandbox.politicalcomms.refused import Refused, invalid, not_found
from sandbox.politicalcomms.settings import PoliticalCommsSettings
from sandbox.politicalcomms.world import BRANDS, instant
from sandbox.schedule import Schedule


class MediaFile:
    """One file."""

    def __init__(self, body: MediaBody, organization: str, at: float) -> None:
        self.id = "med_" + token(12)
        self.body = body
        self.organization = organization
        self.created_at = at
        self.status = "optimizing"
        self.size = 0
        self.optimized_at: float | None = None

    def word(self, generation: int) -> str:
        """The status: what generation 2 calls optimizing, generation 1 called importing."""
        return "importing" if self.status == "optimizing" and generation == 1 else self.status

    def begun(self, generation: int) -> dict[str, Any]:
        """As POST /media answers it."""
        if generation == 1:
            created = instant(self.created_at)
            return {"id": self.id, "name": self.body.name, "status": self.word(1), "created_at": created}
        return {
            "media_id": self.id,
            "status": self.status,
            "uploaded_via_api": True,
            "file_size_bytes": 0,
            "name": self.body.name,
        }

    def whole(self, generation: int, *, listed: bool = False) -> dict[str, Any]:
        """As GET /media/{id}, or an item of GET /media, has it."""
        ready = self.status == "ready"
        gen2 = generation == 2 and not listed
        return {
            "media_id" if gen2 else "id": self.id,
            "organization_id" if gen2 else "org_id": self.organization,
            "brand_id": self.body.brand_id,
            "name": self.body.name,
            "status": self.word(generation),
            "content_type": "image/jpeg" if ready else None,
            "file_size_bytes": self.size,
            "storage_key": f"media/{self.id}",
            "url": f"https://media.politicalcomms.example/{self.id}.jpg" if ready else None,
            "uploaded_via_api": True,
            "created_at": instant(self.created_at),
            "optimized_at": None if self.optimized_at is None else instant(self.optimized_at),
        }


class MediaShelf:
    """All media files."""

    def __init__(self, settings: PoliticalCommsSettings, clock: Clock) -> None:
        self.settings = settings
        self._files: dict[str, MediaFile] = {}
        self.schedule: Schedule[MediaFile] = Schedule(clock, self._finish)

    def clear(self) -> None:
        """Forgets all files."""
        self._files.clear()
        self.schedule.clear()

    def begin(self, body: MediaBody, organization: str, at: float) -> MediaFile:
        """Takes an import on."""
        if not body.source_url.startswith("https://"):
            raise invalid("source_url", "must be an https:// URL.")
        if body.usage == "email_asset" and body.brand_id is not None:
            raise invalid("brand_id", "must be left out with usage email_asset.")
        if body.brand_id is not None and BRANDS.get(body.brand_id) != organization:
            raise Refused(400, "BRAND_ORG_MISMATCH")
        made = MediaFile(body, organization, at)
        self._files[made.id] = made
        self.schedule.add(at + self.settings.media.seconds, made)
        return made

    def of(self, reach: list[str], brand: str | None) -> list[MediaFile]:
        """Those of some organizations."""
        return [one for one in self._files.values() if one.organization in reach and brand in (None, one.body.brand_id)]

    def get(self, id_: str, reach: list[str]) -> MediaFile:
        """One; raises `Refused`."""
        found = self._files.get(id_)
        if found is None or found.organization not in reach:
            raise not_found()
        return found

    def delete(self, one: MediaFile) -> None:
        """Forgets one."""
        del self._files[one.id]

    def _finish(self, one: MediaFile, when: float) -> None:
        rules, url = self.settings.media, one.body.source_url
        known = [suffix for suffix in rules.sizes if url.endswith(suffix)]
        one.size = rules.sizes[max(known, key=len)] if known else 48_211
        failed = one.size > rules.max_bytes or any(fnmatchcase(url, glob) for glob in rules.fail)
        one.status, one.optimized_at = ("failed", None) if failed else ("ready", when)
