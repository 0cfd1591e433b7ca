"""Political Comms from an application: its hierarchy, contact lists, media, projects, conversations and reports.

Every method is one operation, which a worker carries out on the key's own lane: nothing here opens a connection to
Political Comms. Methods that begin with `start_` return the id of a job at once; all others wait for the answer. Each
raises `InvalidMessage` for arguments that break a rule of the API, before anything is stored or sent, and whatever
`call` and `start` raise. Times are aware datetimes, dates are `date`; ids are strings. Answers are plain data: the
provider's members, with every resource's id under `id` and under its own name (`project_id`, `list_id` …).

With an `idempotency_key` a repetition is harmless: the same key for the same arguments is the same job.
"""

from collections.abc import Mapping
from datetime import date, datetime
from os import PathLike
from typing import Any

from paceline.errors import InvalidMessage
from paceline.politicalcomms import rules as rules
from paceline.politicalcomms.files import check_path, take
from paceline.politicalcomms.operations import Data, Rows, aware, today, within
from paceline.politicalcomms.projects import Projects


class PoliticalComms(Projects):
    """One account's Political Comms."""

    # The hierarchy. Its answers serve for five minutes.

    def organizations(self) -> Rows:
        """The organizations that the key reaches: its own and all below it."""
        return self._rows("organizations")

    def hierarchy(self, *, organization_id: str | None = None) -> Data:
        """Organizations, brands and campaigns as a tree, in camelCase as the provider writes it."""
        return self._data("hierarchy", organization_id=organization_id)

    def brands(self, *, organization_id: str | None = None) -> Rows:
        """Brands, of one organization or of all."""
        return self._rows("brands", organization_id=organization_id)

    def campaigns(self, *, organization_id: str | None = None, brand_id: str | None = None) -> Rows:
        """Campaigns, of one organization, of one brand, or all."""
        return self._rows("campaigns", organization_id=organization_id, brand_id=brand_id)

    def phone_numbers(
        self,
        *,
        organization_id: str | None = None,
        brand_id: str | None = None,
        campaign_id: str | None = None,
        channel: str | None = None,
        owner_type: str | None = None,
    ) -> Rows:
        """Phone numbers; `channel` is 10dlc, toll-free, short-code or rcs."""
        return self._rows(
            "phone_numbers",
            organization_id=organization_id,
            brand_id=brand_id,
            campaign_id=campaign_id,
            channel=channel,
            owner_type=owner_type,
        )

    def tracking_domains(self, *, organization_id: str | None = None) -> Rows:
        """Domains for tracked links, own and inherited."""
        return self._rows("tracking_domains", organization_id=organization_id)

    def toll_free_verifications(self, *, organization_id: str | None = None, status: str | None = None) -> Rows:
        """Toll-free verifications; `status` in the carrier's casing: draft, In Progress, Verified, Rejected."""
        return self._rows("toll_free_verifications", organization_id=organization_id, status=status)

    def toll_free_verification(self, toll_free_verification_id: str) -> Data:
        """One of them, with its numbers and, where it was rejected, the reason."""
        return self._data("toll_free_verification", toll_free_verification_id=toll_free_verification_id)

    def campaign_throughput(self, campaign_id: str) -> Data:
        """What the carriers still take of a campaign today, in message parts; None is unknown, not zero."""
        return self._data("campaign_throughput", campaign_id=campaign_id)

    # Contact lists

    def contact_lists(self, *, organization_id: str | None = None, brand_id: str | None = None) -> Rows:
        """Contact lists."""
        return self._rows("contact_lists", organization_id=organization_id, brand_id=brand_id)

    def contact_list(self, list_id: str) -> Data:
        """One contact list: `import`, `analysis`, `available_merge_tags`."""
        return self._data("contact_list", list_id=list_id)

    def start_import_contacts(
        self,
        source_url: str,
        *,
        list_name: str,
        phone_column: str,
        merge_tags: Mapping[str, Any] | None = None,
        organization_id: str | None = None,
        brand_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Imports a CSV file from a public or presigned URL; the job ends with the contact list, once it is ready.

        `merge_tags` maps standard tags to CSV columns, and `custom_fields` is a list of
        `{"csv_column": …, "merge_tag": …}`; without it every column gets a tag named after its header.
        """
        self._check_source("source_url", source_url)
        if merge_tags is not None:
            rules.check_merge_tags(merge_tags)
        return self._start(
            "import_contacts",
            source_url=source_url,
            list_name=list_name,
            phone_column=phone_column,
            merge_tags=merge_tags,
            organization_id=organization_id,
            brand_id=brand_id,
            idempotency_key=idempotency_key,
        )

    def analysis_cost(self, list_id: str) -> Data:
        """What an analysis would look up: `numbers`, and `estimated_cents` by the account's price, None if unknown."""
        return self._data("analysis_cost", list_id=list_id)

    def start_analyze(
        self,
        list_id: str,
        *,
        confirm: bool = False,
        max_cost_cents: float | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Looks up every line of a list, which costs money; the job ends with `breakdown` and `cost_cents`.

        `confirm=True`, or the most it may cost in cents; ask `analysis_cost` first. What is analysed costs nothing.
        """
        self._check_cost(max_cost_cents)
        if not confirm and max_cost_cents is None:
            raise InvalidMessage("confirm", "must be true, since this costs money; ask analysis_cost how much")
        return self._start(
            "analyze",
            list_id=list_id,
            confirm=confirm,
            max_cost_cents=max_cost_cents,
            idempotency_key=idempotency_key,
        )

    def download_contact_list(
        self,
        list_id: str,
        path: str | PathLike[str],
        *,
        type: str = "original",  # noqa: A002 (the API's own name)
        max_bytes: int = rules.LONGEST_FILE,
    ) -> Data:
        """Downloads a contact list as CSV to a file: `original` as it was imported, or `analyzed` with its lines.

        A file that is there is replaced, once the new one is whole. A worker fetches it, on the key's lane, at most
        `max_bytes`, and keeps it in its `[worker] downloads`, from where this takes it away: so both run on one host,
        or share that directory. An analysis that is under way is waited for. The answer has `path`, `bytes` and
        `sha256`. Raises `PacelineError` where the worker's file is not to be had from here; it says where it is.
        """
        within("max_bytes", max_bytes, 1, 10**9)
        target = check_path(path)
        return take(self._data("download_contact_list", list_id=list_id, type=type, max_bytes=max_bytes), target)

    def delete_contact_list(self, list_id: str) -> Data:
        """Deletes a contact list that no project uses."""
        return self._data("delete_contact_list", list_id=list_id)

    # Media

    def media(self, *, organization_id: str | None = None, brand_id: str | None = None) -> Rows:
        """Media files."""
        return self._rows("media", organization_id=organization_id, brand_id=brand_id)

    def media_file(self, media_id: str) -> Data:
        """One media file; its `url` is None until its `status` is ready."""
        return self._data("media_file", media_id=media_id)

    def start_import_media(
        self,
        source_url: str,
        *,
        name: str | None = None,
        reuse: bool = True,
        organization_id: str | None = None,
        brand_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> str:
        """Imports a media file; the job ends with it, once it is ready.

        A name stands for one file: where it is there already it is used again, unless `reuse` is false. Without one,
        the URL stands for the file.
        """
        self._check_source("source_url", source_url)
        return self._start(
            "import_media",
            source_url=source_url,
            name=name,
            reuse=reuse,
            organization_id=organization_id,
            brand_id=brand_id,
            idempotency_key=idempotency_key,
        )

    def delete_media(self, media_id: str) -> Data:
        """Deletes a media file that no project uses."""
        return self._data("delete_media", media_id=media_id)

    # Conversations. Reply with `client.enqueue(Text(to=conversation_id, text=…))`.

    def conversations(
        self,
        *,
        project_id: str | None = None,
        updated_since: datetime | None = None,
        include_test: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Data:
        """A page of conversations with an answer in them: `items`, and `cursor` for the next page, None on the last.

        `updated_since` is 7 days ago unless given, and 90 at most. Ask once a minute at most: webhooks say the same.
        """
        within("limit", limit, 1, 200)
        since = None if updated_since is None else aware("updated_since", updated_since)
        if since is not None:
            rules.check_since(since, today().isoformat())
        return self._data(
            "conversations",
            project_id=project_id,
            updated_since=since,
            include_test=include_test,
            limit=limit,
            cursor=cursor,
        )

    def conversation(self, conversation_id: str) -> Data:
        """One conversation; `status` is active, inactive or opted_out."""
        return self._data("conversation", conversation_id=conversation_id)

    def conversation_messages(self, conversation_id: str, *, limit: int = 50, cursor: str | None = None) -> Data:
        """A page of its messages, newest first: `items` and `cursor`."""
        within("limit", limit, 1, 200)
        return self._data("conversation_messages", conversation_id=conversation_id, limit=limit, cursor=cursor)

    # Reports. One large range costs less of the hourly limit than many small ones.

    def message_stats(
        self,
        start: date,
        end: date,
        *,
        organization_id: str | None = None,
        brand_id: str | None = None,
        campaign_id: str | None = None,
    ) -> Data:
        """Messages by status, in all (`totals`) and by day (`days`)."""
        return self._report("message_stats", start, end, organization_id, brand_id, campaign_id)

    def usage(
        self,
        start: date,
        end: date,
        *,
        organization_id: str | None = None,
        brand_id: str | None = None,
        campaign_id: str | None = None,
    ) -> Data:
        """What was charged: `charges`, a positive decimal string, and the provider's `answer`."""
        return self._report("usage", start, end, organization_id, brand_id, campaign_id)

    def usage_by_initiator(self, start: date, end: date, *, organization_id: str | None = None) -> Data:
        """What was charged, by the organization that sent: `initiators`."""
        return self._data("usage_by_initiator", **self._period(start, end), organization_id=organization_id)

    def _report(
        self,
        operation: str,
        start: date,
        end: date,
        organization_id: str | None,
        brand_id: str | None,
        campaign_id: str | None,
    ) -> Data:
        return self._data(
            operation,
            **self._period(start, end),
            organization_id=organization_id,
            brand_id=brand_id,
            campaign_id=campaign_id,
        )
