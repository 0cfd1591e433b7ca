"""The endpoints of projects, conversations and reports."""

from typing import Any

from sandbox.call import Answer
from sandbox.politicalcomms import world
from sandbox.politicalcomms.bodies import (
    NoBody,
    PauseBody,
    ProjectBody,
    ProjectPatch,
    ReplyBody,
    ScheduleBody,
    TestBody,
    instant_of,
    read,
)
from sandbox.politicalcomms.lists import ContactList
from sandbox.politicalcomms.money import Charge, Purse, day_of
from sandbox.politicalcomms.projects import Project, fields_of, patched
from sandbox.politicalcomms.refused import Refused, invalid, not_found
from sandbox.politicalcomms.reports import message_stats, period
from sandbox.politicalcomms.resources import Resources, ok
from sandbox.politicalcomms.routes import Asked
from sandbox.politicalcomms.sending import Sending
from sandbox.politicalcomms.threads import limit_of, messages_page

RUNNING = ("scheduled", "active", "sending")


class Campaigning(Resources):
    """What is sent, and what came of it."""

    def __init__(self, resources: tuple[Any, Any, Any], sending: Sending, purse: Purse) -> None:
        super().__init__(*resources, sending.projects)
        self._sending = sending
        self._purse = purse

    # Projects

    def projects(self, asked: Asked) -> Answer:
        reach = self._reach(asked)
        names = ("brand_id", "campaign_id")
        wanted = {name: asked.query[name] for name in names if name in asked.query}
        found = [
            one
            for one in self._projects.values()
            if one.organization in reach
            and all(one.fields.get(name) == value for name, value in wanted.items())
            and asked.query.get("type") in (None, "broadcast")
        ]
        return ok([self._shown(one, listed=True) for one in found])

    def create(self, asked: Asked) -> Answer:
        body = read(ProjectBody, asked.call)
        world.wanted(body.organization_id, asked.rule.organization)
        fields = fields_of(body, self.settings)
        self._check_lists(fields, asked)
        made = Project(fields, asked.call.at, asked.key)
        self._projects[made.id] = made
        if self.settings.generation == 1:
            return ok({"id": made.id, **fields, "status": "draft"}, 201)
        recipients, cost = self._sending.estimate(made)
        has_list = bool(made.lists)
        data = {
            "project_id": made.id,
            "name": fields["name"],
            "type": "broadcast",
            "status": "draft",
            "channel": fields["channel"],
            "created_via_api": True,
            "estimated_cost_cents": cost,
            "total_recipients": recipients,
            "completeness": {
                "has_list": has_list,
                "has_message": True,
                "has_phone_number": True,
                "ready_to_test": has_list,
            },
        }
        return ok(data, 201)

    def project(self, asked: Asked) -> Answer:
        return ok(self._shown(self._project(asked)))

    def edit(self, asked: Asked) -> Answer:
        one, body = self._project(asked), read(ProjectPatch, asked.call)
        fields = patched(one, body, self.settings)
        self._check_lists(fields, asked)
        one.fields, one.updated_at = fields, asked.call.at
        return ok(self._shown(one))

    def stats(self, asked: Asked) -> Answer:
        return ok(self._project(asked).stats(asked.call.at))

    def throughput(self, asked: Asked) -> Answer:
        self._check_estimate()
        recipients, _ = self._sending.estimate(self._project(asked))
        mobile = {"will_pause": recipients > 2000, "estimated_send_days": max(1, -(-recipients // 2000))}
        coverage = {"t_mobile": None, "att": None}
        data = {"t_mobile": mobile, "att": {"estimated_minutes": None}}
        return ok({**data, "recipients": recipients, "carrier_coverage": coverage})

    def test(self, asked: Asked) -> Answer:
        one, body = self._project(asked), read(TestBody, asked.call)
        if one.status not in ("draft", "awaiting_test"):
            raise Refused(409, "CONFLICT", f"A project that is {one.status} cannot be tested.")
        self._check_sendable(one, asked)
        sent = self._sending.test(one, body.test_contacts, asked.call.at)
        return ok({"project_id": one.id, "status": one.status, "test_messages": sent}, 202)

    def schedule(self, asked: Asked) -> Answer:
        one, body = self._project(asked), read(ScheduleBody, asked.call)
        at = instant_of(body.scheduled_at, "scheduled_at")
        if one.status not in ("draft", "awaiting_test", "paused", "scheduled"):
            raise Refused(409, "CONFLICT", f"A project that is {one.status} cannot be scheduled.")
        self._check_lists(one.fields, asked)
        self._check_sendable(one, asked)
        if self.settings.require_test and not one.tested:
            raise Refused(409, "CONFLICT", "The project must be tested first.")
        recipients, cost = self._sending.estimate(one)
        left = cost * (recipients - one.next) / recipients if recipients else 0.0
        self._purse.require(left)
        one.scheduled_at, one.timezone, one.bypass = body.scheduled_at, body.scheduled_timezone, body.daily_cap_bypass
        self._sending.schedule(one, at, asked.call.at)
        data = {"scheduled_at": one.scheduled_at, "scheduled_timezone": one.timezone, "daily_cap_bypass": one.bypass}
        return ok({"project_id": one.id, "status": one.status, **data})

    def unschedule(self, asked: Asked) -> Answer:
        read(NoBody, asked.call, optional=True)
        one = self._project(asked)
        if one.status != "scheduled" or one.next:
            raise Refused(409, "CONFLICT", "The project is not scheduled.")
        self._sending.stop_project(one, "draft", asked.call.at)
        one.scheduled_at = one.timezone = None
        return ok({"project_id": one.id, "status": one.status, "unscheduled_at": world.instant(asked.call.at)})

    def pause(self, asked: Asked) -> Answer:
        one, body = self._project(asked), read(PauseBody, asked.call, optional=True)
        if one.status not in (*RUNNING, "paused"):
            raise Refused(409, "CONFLICT", f"A project that is {one.status} cannot be paused.")
        if one.status != "paused":
            self._sending.stop_project(one, "paused", asked.call.at, body.reason or "manual")
        return ok({"project_id": one.id, "status": one.status, "pause_reason": one.pause_reason})

    def copy(self, asked: Asked) -> Answer:
        read(NoBody, asked.call, optional=True)
        one = self._project(asked)
        fields = {**one.fields, "name": f"{one.fields['name']}_v2", "contact_list_ids": None}
        made = Project(fields, asked.call.at, asked.key)
        self._projects[made.id] = made
        return ok(self._shown(made), 201)

    def projects_stats(self, asked: Asked) -> Answer:
        start, end = period(asked.query, asked.call.at, longest=90, oldest=90)
        reach = world.wanted(asked.query.get("organizationId"), asked.rule.organization)
        limit = limit_of(asked.query, 100, 1000)
        offset = asked.query.get("offset", "0")
        if not offset.isdecimal():
            raise invalid("offset", "must be a whole number.")
        status = asked.query.get("status", "all")
        if status not in ("draft", "active", "completed", "paused", "all"):
            raise invalid("status", "must be draft, active, completed, paused or all.")
        found = [
            one
            for one in self._projects.values()
            if one.organization in reach
            and start <= day_of(one.created_at) <= end
            and asked.query.get("brandId") in (None, one.fields.get("brand_id"))
            and asked.query.get("campaignId") in (None, one.fields.get("campaign_id"))
            and status in ("all", "active" if one.status in RUNNING else one.status)
        ]
        first = int(offset)
        shown = [one.stats(asked.call.at) | {"name": one.fields["name"]} for one in found[first : first + limit]]
        more = first + limit < len(found)
        pagination = {"limit": limit, "offset": first, "totalCount": len(found), "hasMore": more}
        return ok({"data": shown, "pagination": pagination})

    # Conversations

    def conversations(self, asked: Asked) -> Answer:
        return ok(self._sending.threads.page(asked.query, asked.reach, asked.call.at))

    def conversation(self, asked: Asked) -> Answer:
        return ok(self._thread(asked).as_json())

    def conversation_messages(self, asked: Asked) -> Answer:
        return ok(messages_page(self._thread(asked), asked.query))

    def reply(self, asked: Asked) -> Answer:
        thread, body = self._thread(asked), read(ReplyBody, asked.call)
        if thread.status == "opted_out":
            raise Refused(409, "CONTACT_OPTED_OUT")
        if thread.status != "active":
            raise Refused(409, "CONVERSATION_NOT_SENDABLE")
        if thread.deleted:
            raise Refused(409, "PROJECT_DELETED")
        if not self._sending.usable(thread.ours):
            raise Refused(409, "PHONE_NUMBER_UNAVAILABLE")
        self._check_allowed(asked)
        self._purse.require(self.settings.prices.sms)
        message = self._sending.send(thread, body.text, asked.call.at)
        data = {
            "message_id": message.id,
            "conversation_id": thread.id,
            "project_id": thread.project,
            "from": thread.ours,
            "to": thread.contact,
            "text": body.text,
            "created_at": world.instant(asked.call.at),
        }
        answer = ok(data, 202)
        answer.message_id, answer.accepted = message.id, True
        return answer

    # Reports

    def message_stats(self, asked: Asked) -> Answer:
        start, end, reach = self._period(asked)
        return ok(message_stats(self._sending.days, reach, start, end, self.settings.generation))

    def usage(self, asked: Asked) -> Answer:
        start, end, reach = self._period(asked)
        found = self._charges(asked, start, end, reach)
        return ok(self._purse.usage(found, self.settings.generation, start, end, reach[0]))

    def by_initiator(self, asked: Asked) -> Answer:
        start, end, reach = self._period(asked)
        found = self._charges(asked, start, end, reach)
        return ok(self._purse.by_initiator(found, self.settings.generation, start, end))

    def _period(self, asked: Asked) -> tuple[str, str, list[str]]:
        longest, oldest = (31, 90) if self.settings.generation == 1 else (180, 180)
        start, end = period(asked.query, asked.call.at, longest=longest, oldest=oldest)
        return start, end, world.wanted(asked.query.get("organizationId"), asked.rule.organization)

    def _charges(self, asked: Asked, start: str, end: str, reach: list[str]) -> list[Charge]:
        return [
            one
            for one in self._purse.charges
            if one.organization in reach
            and start <= day_of(one.at) <= end
            and asked.query.get("brandId") in (None, one.brand)
            and asked.query.get("campaignId") in (None, one.campaign)
        ]

    def _project(self, asked: Asked) -> Project:
        found = self._projects.get(asked.id)
        if found is None or found.organization not in asked.reach:
            raise not_found()
        return found

    def _thread(self, asked: Asked) -> Any:
        return self._sending.threads.get(asked.id, asked.reach, self.settings.open_conversations)

    def _shown(self, one: Project, *, listed: bool = False) -> dict[str, Any]:
        return one.as_json(self.settings.generation, *self._sending.estimate(one), listed=listed)

    def _check_lists(self, fields: dict[str, Any], asked: Asked) -> list[ContactList]:
        lists = [self._lists.get(id_, asked.reach) for id_ in fields.get("contact_list_ids") or ()]
        if any(one.analysis == "processing" for one in lists):
            raise Refused(409, "LIST_ANALYSIS_IN_PROGRESS")
        for id_ in fields.get("media_ids") or ():
            if self._media.get(id_, asked.reach).status != "ready":
                raise invalid("media_ids", "must be files that are ready.")
        return lists

    def _check_sendable(self, one: Project, asked: Asked) -> None:
        if not one.lists:
            raise Refused(409, "CONFLICT", "The project has no contact list.")
        if any(self._lists.get(id_, asked.reach).status != "ready" for id_ in one.lists):
            raise Refused(409, "CONFLICT", "A contact list is not ready.")
        self._check_allowed(asked)

    def _check_allowed(self, asked: Asked) -> None:
        if asked.rule.missing_steps:
            raise Refused(403, "ONBOARDING_INCOMPLETE", details={"missingSteps": list(asked.rule.missing_steps)})
        if self.settings.sending_paused:
            raise Refused(409, "SENDING_PAUSED", details={"scope": self.settings.sending_paused})
