"""The hierarchy that the sandbox starts with: three organizations below each other, one in another tree."""

from datetime import UTC, datetime
from typing import Any

from sandbox.politicalcomms.refused import Refused, not_found
from sandbox.politicalcomms.settings import ROOT

CREATED = "2026-01-12T09:00:00Z"
CHILD = "01JV0ORG0000000000000000A2"
GRANDCHILD = "01JV0ORG0000000000000000A3"
FOREIGN = "01JV0ORG0000000000000000F1"
# organization → its name and the one above it
ORGANIZATIONS: dict[str, tuple[str, str | None]] = {
    ROOT: ("Northside Committee", None),
    CHILD: ("District 5", ROOT),
    GRANDCHILD: ("Ward 12", CHILD),
    FOREIGN: ("Southside Committee", None),
}
# number id → number, channel, what owns it
NUMBERS: dict[str, tuple[str, str, str]] = {
    "01JV0NUM0000000000000000D1": ("+15555550111", "10dlc", ROOT),
    "01JV0NUM0000000000000000D2": ("+15555550112", "10dlc", ROOT),
    "01JV0NUM0000000000000000D3": ("+15555550113", "10dlc", CHILD),
    "01JV0NUM0000000000000000T1": ("+18005550114", "toll-free", ROOT),
    "01JV0NUM0000000000000000F1": ("+15555550119", "10dlc", FOREIGN),
}
VERIFICATION = "01JV0TFV0000000000000000E1"
DOMAIN = "01JV0DOM0000000000000000G1"


def instant(at: float) -> str:
    """Unix seconds as ISO 8601 in UTC, whole seconds."""
    return datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def brand_of(organization: str) -> str:
    """The id of an organization's brand."""
    return organization.replace("ORG", "BRD")


def campaign_of(organization: str) -> str:
    """The id of its campaign."""
    return organization.replace("ORG", "CMP")


BRANDS = {brand_of(id_): id_ for id_ in ORGANIZATIONS}
CAMPAIGNS = {campaign_of(id_): id_ for id_ in ORGANIZATIONS}


def below(organization: str) -> list[str]:
    """The organization and all below it."""
    found = [organization]
    for id_, (_, parent) in ORGANIZATIONS.items():
        if parent in found:
            found.append(id_)
    return found


def wanted(asked: str | None, own: str) -> list[str]:
    """The organizations that a list is of; raises `Refused` for one that the key does not reach."""
    reach = below(own)
    if asked is None:
        return reach
    if asked not in reach:
        raise Refused(403, "ORG_ACCESS_DENIED")
    return [asked]


def organizations(own: str) -> list[dict[str, Any]]:
    """GET /organizations."""
    return [
        {
            "id": id_,
            "display_name": ORGANIZATIONS[id_][0],
            "parent_org_name": _name(ORGANIZATIONS[id_][1]),
            "status": "active",
            "created_at": CREATED,
        }
        for id_ in below(own)
    ]


def tree(organization: str) -> dict[str, Any]:
    """GET /hierarchy."""
    name, parent = ORGANIZATIONS[organization]
    times = {"createdAt": CREATED, "updatedAt": CREATED}
    campaign = {"id": campaign_of(organization), "name": f"{name} outreach", "status": "active", **times}
    brand = {
        "id": brand_of(organization),
        "name": name,
        "status": "verified",
        "organizationId": organization,
        **times,
        "campaigns": [campaign],
    }
    return {
        "id": organization,
        "name": name,
        "parentId": parent,
        "status": "active",
        "contactEmail": "office@example.org",
        "contactFirstName": "Ana",
        "contactLastName": "Silva",
        **times,
        "brands": [brand],
        "childOrganizations": [tree(id_) for id_, (_, above) in ORGANIZATIONS.items() if above == organization],
    }


def brands(reach: list[str]) -> list[dict[str, Any]]:
    """GET /brands."""
    return [
        {
            "id": brand_of(id_),
            "brand_name": ORGANIZATIONS[id_][0],
            "org_id": id_,
            "org_name": ORGANIZATIONS[id_][0],
            "tcr_brand_id": "B" + id_[-6:],
            "status": "verified",
            "identity_status": "VERIFIED",
            "notes": None,
            "created_at": CREATED,
        }
        for id_ in reach
    ]


def campaigns(reach: list[str], brand: str | None) -> list[dict[str, Any]]:
    """GET /campaigns."""
    return [
        {
            "id": campaign_of(id_),
            "name": f"{ORGANIZATIONS[id_][0]} outreach",
            "brand_id": brand_of(id_),
            "brand_name": ORGANIZATIONS[id_][0],
            "org_id": id_,
            "org_name": ORGANIZATIONS[id_][0],
            "campaign_status": "active",
            "notes": None,
            "created_at": CREATED,
        }
        for id_ in reach
        if brand in (None, brand_of(id_))
    ]


def phone_numbers(reach: list[str]) -> list[dict[str, Any]]:
    """GET /phone-numbers, before its other filters."""
    return [_number(id_) for id_, (_, _, organization) in NUMBERS.items() if organization in reach]


def _number(id_: str) -> dict[str, Any]:
    number, channel, organization = NUMBERS[id_]
    name, dlc = ORGANIZATIONS[organization][0], channel == "10dlc"
    return {
        "id": id_,
        "number": number,
        "channel": channel,
        "owner_type": "campaign" if dlc else "toll_free_registration",
        "campaign_id": campaign_of(organization) if dlc else None,
        "campaign_name": f"{name} outreach" if dlc else None,
        "brand_id": brand_of(organization) if dlc else None,
        "brand_name": name if dlc else None,
        "toll_free_verification_id": None if dlc else VERIFICATION,
        "tf_verification_status": None if dlc else "Verified",
        "toll_free_registration_name": None if dlc else "Northside toll-free",
        "toll_free_business_name": None if dlc else name,
        "org_id": organization,
        "org_name": name,
        "status": "active",
        "created_at": CREATED,
        "shared": False,
        "nickname": None,
    }


def tracking_domains(reach: list[str]) -> list[dict[str, Any]]:
    """GET /tracking-domains: the root's own, which those below inherit."""
    if ROOT in reach:
        own = {"status": "verified", "verified_at": CREATED, "created_at": CREATED, "notes": None}
        return [{"id": DOMAIN, "domain": "go.northside.example", "source": "own", **own}]
    return [{"id": DOMAIN, "domain": "go.northside.example", "source": "inherited"}]


def verifications(reach: list[str], status: str | None) -> list[dict[str, Any]]:
    """GET /toll-free-verifications."""
    found = {
        "id": VERIFICATION,
        "name": "Northside toll-free",
        "status": "Verified",
        "verification_request_id": "tfv_1",
        "org_id": ROOT,
        "org_name": ORGANIZATIONS[ROOT][0],
        "business_name": ORGANIZATIONS[ROOT][0],
        "use_case": "Political",
        "phone_number_count": 1,
        "submitted_at": CREATED,
        "verified_at": CREATED,
        "created_at": CREATED,
    }
    return [found] if ROOT in reach and status in (None, "Verified") else []


def verification(id_: str, reach: list[str]) -> dict[str, Any]:
    """GET /toll-free-verifications/{id}."""
    found = [item for item in verifications(reach, None) if item["id"] == id_]
    if not found:
        raise not_found()
    numbers = [number for number, (_, channel, _) in NUMBERS.items() if channel == "toll-free"]
    return found[0] | {"phone_number_ids": numbers, "rejection_reason": None, "updated_at": CREATED}


def throughput(campaign: str, reach: list[str], day: str) -> dict[str, Any]:
    """GET /campaigns/{id}/throughput."""
    if CAMPAIGNS.get(campaign) not in reach:
        raise not_found()
    return {
        "campaign_id": campaign,
        "brand_id": brand_of(CAMPAIGNS[campaign]),
        "carrier_metered": True,
        "t_mobile": {"daily_cap": 2000, "used_today": None, "remaining_today": None, "pacific_day": day},
        "att": {"sms_tpm": 75, "mms_tpm": None},
    }


def _name(organization: str | None) -> str | None:
    return None if organization is None else ORGANIZATIONS[organization][0]
