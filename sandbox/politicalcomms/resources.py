"""The endpoints of hierarchy, contact lists and media."""

import csv
import io

from sandbox.call import Answer, json_body
from sandbox.politicalcomms import world
from sandbox.politicalcomms.bodies import ImportBody, MediaBody, NoBody, read
from sandbox.politicalcomms.lists import ContactList, Lists, line_of
from sandbox.politicalcomms.media import MediaShelf
from sandbox.politicalcomms.money import day_of
from sandbox.politicalcomms.projects import Project
from sandbox.politicalcomms.refused import Refused, invalid
from sandbox.politicalcomms.routes import Asked
from sandbox.politicalcomms.settings import PoliticalCommsSettings


def ok(data: object, status: int = 200) -> Answer:
    """A success."""
    return Answer(status, json_body({"success": True, "data": data}))


class Resources:
    """What stands before a project."""

    def __init__(
        self, settings: PoliticalCommsSettings, lists: Lists, media: MediaShelf, projects: dict[str, Project]
    ) -> None:
        self.settings = settings
        self._lists = lists
        self._media = media
        self._projects = projects

    # Hierarchy

    def organizations(self, asked: Asked) -> Answer:
        return ok(world.organizations(asked.rule.organization))

    def hierarchy(self, asked: Asked) -> Answer:
        organization = asked.query.get("organizationId")
        return ok(world.tree(world.wanted(organization, asked.rule.organization)[0]))

    def brands(self, asked: Asked) -> Answer:
        return ok(world.brands(self._reach(asked)))

    def campaigns(self, asked: Asked) -> Answer:
        return ok(world.campaigns(self._reach(asked), asked.query.get("brand_id")))

    def campaign_throughput(self, asked: Asked) -> Answer:
        self._check_estimate()
        return ok(world.throughput(asked.id, asked.reach, day_of(asked.call.at - 8 * 3600)))

    def tracking_domains(self, asked: Asked) -> Answer:
        return ok(world.tracking_domains(self._reach(asked)))

    def phone_numbers(self, asked: Asked) -> Answer:
        names = ("brand_id", "campaign_id", "channel", "owner_type")
        wanted = {name: asked.query[name] for name in names if name in asked.query}
        found = world.phone_numbers(self._reach(asked))
        return ok([one for one in found if all(one[name] == value for name, value in wanted.items())])

    def verifications(self, asked: Asked) -> Answer:
        return ok(world.verifications(self._reach(asked), asked.query.get("status")))

    def verification(self, asked: Asked) -> Answer:
        return ok(world.verification(asked.id, asked.reach))

    # Contact lists

    def contact_lists(self, asked: Asked) -> Answer:
        return ok([one.listed() for one in self._lists.of(self._reach(asked), asked.query.get("brand_id"))])

    def import_list(self, asked: Asked) -> Answer:
        body = read(ImportBody, asked.call)
        organization = world.wanted(body.organization_id, asked.rule.organization)[0]
        made = self._lists.begin(body, organization, asked.call.at, asked.key)
        return ok(made.short(self.settings.generation), 202)

    def contact_list(self, asked: Asked) -> Answer:
        return ok(self._lists.get(asked.id, asked.reach).whole(self.settings.generation))

    def analyze(self, asked: Asked) -> Answer:
        read(NoBody, asked.call, optional=True)
        one = self._lists.get(asked.id, asked.reach)
        status, data = self._lists.analyze(one, asked.call.at)
        return ok(data, status)

    def download(self, asked: Asked) -> Answer:
        one, kind = self._lists.get(asked.id, asked.reach), asked.query.get("type")
        if kind not in ("original", "analyzed"):
            raise invalid("type", "must be original or analyzed.")
        if kind == "analyzed" and one.analysis != "complete":
            raise Refused(409, "ANALYSIS_NOT_COMPLETE")
        if one.status != "ready":
            raise Refused(409, "CONFLICT", "The list is not ready.")
        return Answer(200, _analyzed(one) if kind == "analyzed" else one.source.encode(), content_type="text/csv")

    def delete_list(self, asked: Asked) -> Answer:
        one = self._lists.get(asked.id, asked.reach)
        users = [project.id for project in self._projects.values() if one.id in project.lists]
        if users:
            raise Refused(409, "CONTACT_LIST_IN_USE", details={"projects": users})
        self._lists.delete(one)
        return ok({"list_id": one.id, "deleted": True})

    # Media

    def media(self, asked: Asked) -> Answer:
        found = self._media.of(self._reach(asked), asked.query.get("brand_id"))
        return ok([one.whole(self.settings.generation, listed=True) for one in found])

    def import_media(self, asked: Asked) -> Answer:
        body = read(MediaBody, asked.call)
        organization = world.wanted(body.organization_id, asked.rule.organization)[0]
        return ok(self._media.begin(body, organization, asked.call.at).begun(self.settings.generation), 202)

    def media_file(self, asked: Asked) -> Answer:
        return ok(self._media.get(asked.id, asked.reach).whole(self.settings.generation))

    def delete_media(self, asked: Asked) -> Answer:
        one = self._media.get(asked.id, asked.reach)
        if any(one.id in (project.fields.get("media_ids") or ()) for project in self._projects.values()):
            raise Refused(409, "MEDIA_IN_USE")
        self._media.delete(one)
        return ok({"media_id": one.id, "deleted": True})

    def _reach(self, asked: Asked) -> list[str]:
        return world.wanted(asked.query.get("organization_id"), asked.rule.organization)

    def _check_estimate(self) -> None:
        if self.settings.throughput_timeout:
            raise Refused(503, "CARRIER_ESTIMATE_TIMEOUT")


def _analyzed(one: ContactList) -> bytes:
    """Every contact with the line that its number is."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([one.body.phone_column, *one.contacts.tags, "line_type"])
    for phone, tags in one.contacts.rows:
        writer.writerow([phone, *(tags[tag] for tag in one.contacts.tags), line_of(phone)])
    return out.getvalue().encode()
