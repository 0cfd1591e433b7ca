"""Political Comms' projects from an application: drafts, tests, schedules, and a whole broadcast as one job."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from paceline.errors import InvalidMessage
from paceline.politicalcomms import rules as rules
from paceline.politicalcomms.operations import Data, Operations, Rows, schedule, within


class Projects(Operations):
    """What can be done with projects."""

    def projects(
        self,
        *,
        organization_id: str | None = None,
        brand_id: str | None = None,
        campaign_id: str | None = None,
        type: str | None = None,  # noqa: A002 (the API's own name)
    ) -> Rows:
        """Projects."""
        return self._rows(
            "projects", organization_id=organization_id, brand_id=brand_id, campaign_id=campaign_id, type=type
        )

    def project(self, project_id: str) -> Data:
        """One project: its fields, `status`, `scheduled_at`, `pause_reason`."""
        return self._data("project", project_id=project_id)

    def create_project(self, *, idempotency_key: str | None = None, **fields: Any) -> Data:
        """Creates a draft; `fields` are the API's (`paceline.politicalcomms.rules.PROJECT_FIELDS`).

        `name`, `protocol` (sms or mms), `message_text` and 1 to 49 `phone_number_ids` are required; so are `brand_id`
        and `campaign_id` with channel 10dlc, which is the default, and `toll_free_verification_id` with toll-free.
        """
        rules.check_project(fields, **self._lengths)
        return self._data("create_project", **fields, idempotency_key=idempotency_key)

    def edit_project(self, project_id: str, **changes: Any) -> Data:
        """Changes a project that is in draft or awaiting_test; `changes` are of `rules.EDITABLE`."""
        rules.check_edit(changes, **self._lengths)
        return self._data("edit_project", project_id=project_id, **changes)

    def test_project(
        self, project_id: str, test_contacts: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
    ) -> Data:
        """Sends a project to 1 to 50 test contacts: `{"phone": "+1…", "merge_values": {…}}`."""
        rules.check_test_contacts(test_contacts)
        contacts = [dict(item) for item in test_contacts]
        return self._data(
            "test_project", project_id=project_id, test_contacts=contacts, idempotency_key=idempotency_key
        )

    def schedule_project(
        self, project_id: str, *, scheduled_at: datetime, timezone: str, daily_cap_bypass: bool = False
    ) -> Data:
        """Schedules a project; a time that is past begins as soon as its audience is compiled.

        `timezone` is one of `rules.ZONES`. With `daily_cap_bypass` what is over a carrier's cap may
        fail, and is charged.
        """
        fields = schedule(scheduled_at, timezone, daily_cap_bypass)
        return self._data("schedule_project", project_id=project_id, **fields)

    def resume_project(
        self, project_id: str, *, timezone: str, scheduled_at: datetime | None = None, daily_cap_bypass: bool = False
    ) -> Data:
        """Resumes a paused project, now or at a time; the bypass must be said again."""
        fields = schedule(scheduled_at or datetime.now(UTC), timezone, daily_cap_bypass)
        return self._data("resume_project", project_id=project_id, **fields)

    def unschedule_project(self, project_id: str) -> Data:
        """Takes a scheduled project back to a draft."""
        return self._data("unschedule_project", project_id=project_id)

    def pause_project(self, project_id: str, *, reason: str | None = None) -> Data:
        """Pauses a project that is active, sending or scheduled; `reason` has 1 to 100 characters."""
        if reason is not None and not 1 <= len(reason) <= 100:
            raise InvalidMessage("reason", "must have 1 to 100 characters")
        return self._data("pause_project", project_id=project_id, reason=reason)

    def copy_project(self, project_id: str, *, idempotency_key: str | None = None) -> Data:
        """A new draft named `…_v2`, without lists, schedule and statistics."""
        return self._data("copy_project", project_id=project_id, idempotency_key=idempotency_key)

    def project_stats(self, project_id: str) -> Data:
        """`status` and `metrics`: sent, delivered, undeliverable, replies, opt_outs, clicks; test messages apart."""
        return self._data("project_stats", project_id=project_id)

    def project_throughput(self, project_id: str) -> Data:
        """How fast the carriers will take a project; None is unknown, not zero. Up to a minute old."""
        return self._data("project_throughput", project_id=project_id)

    def projects_stats(
        self,
        start: date,
        end: date,
        *,
        organization_id: str | None = None,
        brand_id: str | None = None,
        campaign_id: str | None = None,
        status: str | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> Data:
        """Statistics of projects: `items` and `pagination`. `status`: draft, active, completed, paused or all."""
        within("limit", limit, 1, 1000)
        within("offset", offset, 0, 10**9)
        return self._data(
            "projects_stats",
            **self._period(start, end, most=rules.OLDEST_PROJECT_STATS),
            organization_id=organization_id,
            brand_id=brand_id,
            campaign_id=campaign_id,
            status=status,
            limit=limit,
            offset=offset,
        )

    def start_watch(self, project_id: str, *, idempotency_key: str | None = None) -> str:
        """Watches a project until it is completed; a pause is reported with its reason and does not end the job."""
        return self._start("watch", project_id=project_id, idempotency_key=idempotency_key)

    def start_broadcast(
        self, *, scheduled_at: datetime, timezone: str, idempotency_key: str | None = None, **fields: Any
    ) -> str:
        """One job from a CSV file to a completed project: import, analysis, media, project, test, schedule, watch.

        `fields` are those of `create_project` (`protocol` follows from `media_url`), and `source_url` with
        `phone_column`, `list_name` and `merge_tags`, or else `contact_list_ids`; `media_url` and `media_name`;
        `analyze=True`, which costs money, with `max_cost_cents`; `test_contacts`; `daily_cap_bypass`.
        """
        bypass = fields.pop("daily_cap_bypass", False)
        when = schedule(scheduled_at, timezone, bypass)
        rules.check_broadcast(fields, **self._lengths)
        self._check_cost(fields.get("max_cost_cents"))
        for name in ("source_url", "media_url"):
            self._check_source(name, fields.get(name))
        return self._start("broadcast", **fields, **when, idempotency_key=idempotency_key)
