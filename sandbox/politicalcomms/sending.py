"""Sending projects: the audience is compiled, messages leave at a pace, and recipients receive, answer and click."""

import hashlib
import struct
from collections import Counter, defaultdict
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from sandbox.clock import Clock
from sandbox.lifecycle import Lifecycle, Step
from sandbox.politicalcomms.bodies import TestContact
from sandbox.politicalcomms.events import event_of
from sandbox.politicalcomms.lists import Lists
from sandbox.politicalcomms.money import Charge, Purse, day_of
from sandbox.politicalcomms.projects import Project, audience_of
from sandbox.politicalcomms.settings import PoliticalCommsSettings
from sandbox.politicalcomms.threads import Message, Thread, Threads
from sandbox.politicalcomms.world import NUMBERS, instant
from sandbox.schedule import Schedule
from sandbox.webhooks import Event

TURN = 0.1  # seconds between two handfuls of messages
STOP_WORDS = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT")


class Sending:
    """Carries projects from their schedule to their completion."""

    def __init__(
        self,
        settings: PoliticalCommsSettings,
        seed: int,
        clock: Clock,
        lists: Lists,
        purse: Purse,
        tell: Callable[[Event], None],
    ) -> None:
        self.settings = settings
        self.threads = Threads()
        self.statuses: Counter[str] = Counter()
        self.days: defaultdict[tuple[str, str, str], float] = defaultdict(float)  # (day, organization, status) → count
        self.projects: dict[str, Project] = {}
        self.lifecycle: Lifecycle[Message] = Lifecycle(settings.lifecycle, seed, clock, self._progress)
        self._seed = seed
        self._lists = lists
        self._purse = purse
        self._tell = tell
        self._numbered = 0
        self._turns: Schedule[tuple[Project, int, str]] = Schedule(clock, self._turn)
        self._answers: Schedule[tuple[Message, str]] = Schedule(clock, self._answer)

    def start(self) -> None:
        """Begins to work."""
        for schedule in (self._turns, self._answers, self.lifecycle):
            schedule.start()

    def stop(self) -> None:
        """Lets nothing more happen."""
        for schedule in (self._turns, self._answers, self.lifecycle):
            schedule.stop()

    def clear(self) -> None:
        """Forgets everything."""
        for schedule in (self._turns, self._answers, self.lifecycle, self.threads):
            schedule.clear()
        self.statuses.clear()
        self.days.clear()
        self.projects.clear()

    # Projects

    def estimate(self, project: Project) -> tuple[int, float]:
        """Recipients, and what they cost, in cents."""
        if project.audience:
            recipients = len(project.audience)
        else:
            lists = [self._lists.get(id_, [project.organization]) for id_ in project.lists]
            recipients = len(audience_of(lists, self._lists.opted_out))
        return recipients, recipients * self._price(project)

    def schedule(self, project: Project, at: float, now: float) -> None:
        """Starts or resumes a project at a time, at once if that is past."""
        project.pause_reason, project.auto_paused = None, False
        project.move("scheduled", now)
        self._turns.add(max(at, now), (project, project.run, "active"))

    def stop_project(self, project: Project, status: str, now: float, reason: str | None = None) -> None:
        """Takes a project off its schedule, or pauses it."""
        project.pause_reason = reason
        project.move(status, now)

    def test(self, project: Project, contacts: list[TestContact], at: float) -> list[dict[str, str]]:
        """Sends to test contacts, and says which messages those are."""
        made = []
        for contact in contacts:
            thread = self.threads.of(
                contact.phone, self._number(project, 0), project.organization, project.id, test=True
            )
            message = self.send(thread, _filled(project.fields["message_text"], contact.merge_values or {}), at)
            project.tests["sent"] += 1
            shown = f"{contact.phone[:5]}****{contact.phone[-3:]}"
            made.append({"test_message_id": message.id, "sent_to": shown})
        project.tested = True
        if project.status == "draft":
            project.move("awaiting_test", at)
        return made

    def _turn(self, due: tuple[Project, int, str], when: float) -> None:
        project, run, what = due
        if run != project.run:
            return
        rules = self.settings.sending
        if what == "active":
            project.status = "active"
            self._turns.add(when + rules.compile_seconds, (project, run, "sending"))
        elif what == "sending":
            if not project.audience:
                lists = [self._lists.get(id_, [project.organization]) for id_ in project.lists]
                project.audience = audience_of(lists, self._lists.opted_out)
            project.status = "sending"
            self._handful(project, when)
        else:
            project.move("completed", when)

    def _handful(self, project: Project, when: float) -> None:
        rules = self.settings.sending
        end = min(len(project.audience), project.next + max(1, int(rules.per_second * TURN)))
        while project.next < end:
            if self._paused(project, when):
                return
            contact, tags = project.audience[project.next]
            ours = self._number(project, project.next)
            project.next += 1
            if contact not in self._lists.opted_out:
                thread = self.threads.of(contact, ours, project.organization, project.id)
                self.send(thread, _filled(project.fields["message_text"], tags), when)
        if project.next < len(project.audience):
            self._turns.add(when + TURN, (project, project.run, "sending"))
        else:
            self._turns.add(when + rules.completes_after, (project, project.run, "completed"))

    def _paused(self, project: Project, when: float) -> bool:
        rule, reason = self.settings.sending.auto_pause, ""
        if self._purse.cents <= 0:
            reason = "insufficient_funds_auto_recharge_failed"
        elif rule is not None and project.next >= rule.after and not project.was_auto_paused:
            reason = "" if project.bypass and rule.reason == "brand_daily_cap" else rule.reason
            project.was_auto_paused = True
        if reason:
            project.pause_reason, project.auto_paused = reason, True
            project.move("paused", when)
        return bool(reason)

    def _number(self, project: Project, index: int) -> str:
        numbers = project.fields["phone_number_ids"]
        return NUMBERS[numbers[index % len(numbers)]][0]

    def _price(self, project: Project) -> float:
        return self.settings.prices.mms if project.fields["protocol"] == "mms" else self.settings.prices.sms

    # Messages

    def send(self, thread: Thread, text: str, at: float) -> Message:
        """Takes one message on."""
        message = Message(thread, self._numbered, text, at)
        self._numbered += 1
        thread.messages.append(message)
        self._count(message, "queued", at)
        self.lifecycle.begin(message)
        return message

    def receive(self, thread: Thread, text: str, at: float) -> dict[str, Any]:
        """Has a contact write, and returns the data of the event."""
        message = Message(thread, 0, text, at, inbound=True)
        thread.messages.append(message)
        self.threads.came(thread, at)
        project = self.projects.get(thread.project)
        if project is not None:
            (project.tests if thread.test else project.counts)["replies"] += 1
        if text.strip().upper() in STOP_WORDS and thread.status != "opted_out":
            thread.status = "opted_out"
            self._lists.opted_out.add(thread.contact)
            if project is not None and not thread.test:
                project.counts["opt_outs"] += 1
        data = self._data(message) | {"from": thread.contact, "to": thread.ours, "text": text}
        self._event("message.replied", at, data, message)
        return data

    def _progress(self, message: Message, step: Step) -> None:
        before = message.status
        message.reach(step)
        self.statuses[before] -= 1
        self._count(message, step.status, step.when)
        project = self.projects.get(message.thread.project)
        if project is not None:
            self._tally(project, message, step.status)
        data = self._data(message) | {"status": step.status}
        if step.status == "failed":
            data["error_code"] = message.code
        self._event(f"message.{step.status}", step.when, data, message)
        if step.status == "delivered":
            self._charge(message, project, step.when)
            self._react(message, step.when)

    def _tally(self, project: Project, message: Message, status: str) -> None:
        if message.test:
            if status != "sent":  # it was counted as sent when it was taken on
                project.tests[status] += 1
        elif status in ("sent", "delivered", "failed"):
            project.counts["undeliverable" if status == "failed" else status] += 1

    def _charge(self, message: Message, project: Project | None, at: float) -> None:
        protocol = "sms" if project is None else project.fields["protocol"]
        price = self.settings.prices.mms if protocol == "mms" else self.settings.prices.sms
        fields: dict[str, Any] = {} if project is None else project.fields
        charge = Charge(
            at, message.thread.organization, protocol, 1, price, fields.get("brand_id"), fields.get("campaign_id")
        )
        self._purse.charge(charge)

    def _react(self, message: Message, at: float) -> None:
        rules = self.settings.audience
        digest = hashlib.blake2b(f"{self._seed}:reaction:{message.number}".encode(), digest_size=12).digest()
        reply, stop, click = (part / 2**32 for part in struct.unpack("<3L", digest))
        what = "STOP" if stop < rules.opt_outs else "Thank you!" if reply < rules.replies else ""
        if what:
            self._answers.add(at + rules.after, (message, what))
        if click < rules.clicks:
            self._answers.add(at + rules.after, (message, ""))

    def _answer(self, reaction: tuple[Message, str], when: float) -> None:
        message, text = reaction
        if text:
            self.receive(message.thread, text, when)
        else:
            self.click(message, when)

    def click(self, message: Message, at: float) -> None:
        """Has a contact follow the link."""
        project = self.projects.get(message.thread.project)
        if project is not None:
            counts = project.tests if message.test else project.counts
            counts["clicks_total"] += 1
            counts["clicks_unique"] += 1
        url = "https://example.org/" if project is None else project.fields.get("link_tracking_destination_url")
        data = {
            "message_id": message.id,
            "project_id": message.thread.project,
            "to": message.recipient,
            "url": url,
            "clicked_at": instant(at),
        }
        self._event("link.clicked", at, data, message)

    def _event(self, name: str, at: float, data: dict[str, Any], message: Message) -> None:
        project = self.projects.get(message.thread.project)
        self._tell(event_of(name, at, data, message.recipient, message.id, project.key if project else ""))

    def _data(self, message: Message) -> dict[str, Any]:
        thread = message.thread
        return {
            "message_id": message.id,
            "project_id": thread.project,
            "conversation_id": thread.id,
            "from": thread.ours,
            "to": thread.contact,
        }

    def _count(self, message: Message, status: str, at: float) -> None:
        self.statuses[status] += 1
        self.days[day_of(at), message.thread.organization, status] += 1

    def usable(self, number: str) -> bool:
        """Whether a number of ours can still be used."""
        return not any(fnmatchcase(number, glob) for glob in self.settings.unavailable_numbers)


def _filled(text: str, tags: dict[str, str]) -> str:
    for tag, value in tags.items():
        text = text.replace(f"{{{tag}}}", value)
    return text
