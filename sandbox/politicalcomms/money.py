"""The prepaid balance of the tree, and the ledger of what was charged."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.politicalcomms.refused import Refused
from sandbox.politicalcomms.world import ORGANIZATIONS, instant


@dataclass(frozen=True, slots=True)
class Charge:
    """One entry. `cents` is what was taken."""

    at: float
    organization: str
    category: str
    units: int
    cents: float
    brand: str | None = None
    campaign: str | None = None


class Purse:
    """The balance, never below zero."""

    def __init__(self, cents: float) -> None:
        self.cents = cents
        self.charges: list[Charge] = []

    def pay(self, cents: float, category: str, units: int, organization: str, at: float) -> None:
        """Charges at once, or raises `Refused` where the balance does not cover it."""
        self.require(cents)
        self.charge(Charge(at, organization, category, units, cents))

    def require(self, cents: float) -> None:
        """Raises `Refused` unless the balance covers it; at zero everything that costs is locked."""
        if self.cents <= 0 or cents > self.cents:
            raise Refused(402, "INSUFFICIENT_BALANCE")

    def charge(self, charge: Charge) -> None:
        """Takes what a delivery costs, as far as there is anything."""
        self.cents = max(0.0, self.cents - charge.cents)
        self.charges.append(charge)

    def usage(self, found: list[Charge], generation: int, start: str, end: str, organization: str) -> dict[str, Any]:
        """GET /ledger/usage for one organization: positive amounts in generation 1, negative ones in generation 2."""
        units: defaultdict[str, int] = defaultdict(int)
        cents: defaultdict[str, float] = defaultdict(float)
        for charge in found:
            units[charge.category] += charge.units
            cents[charge.category] += charge.cents
        total, sent = sum(cents.values()), units["sms"] + units["mms"]
        name = ORGANIZATIONS[organization][0]
        if generation == 1:
            return {
                "organization_id": organization,
                "organization_name": name,
                "period": {"start_date": start, "end_date": end},
                "totals": {
                    "messages_sent": sent,
                    "sms_charges": cents["sms"] / 100,
                    "mms_charges": cents["mms"] / 100,
                    "carrier_lookup_charges": cents["carrier_lookup"] / 100,
                    "10dlc_charges": 0.0,
                    "total_charges": total / 100,
                },
                "by_category": [
                    {"category": category, "units": units[category], "amount": cents[category] / 100}
                    for category in sorted(cents)
                ],
            }
        return {
            "organizationId": organization,
            "organizationName": name,
            "dateRange": {"startDate": start, "endDate": end},
            "totalAmount": f"{-total / 100:.4f}",
            "totalQuantity": sum(units.values()),
            "transactionCount": len(found),
            "categories": [
                {"category": category, "quantity": units[category], "amount": f"{-cents[category] / 100:.4f}"}
                for category in sorted(cents)
            ],
        }

    def by_initiator(self, found: Iterable[Charge], generation: int, start: str, end: str) -> dict[str, Any]:
        """GET /ledger/usage/by-initiator."""
        groups: defaultdict[str, list[Charge]] = defaultdict(list)
        for charge in found:
            groups[charge.organization].append(charge)
        if generation == 1:
            rows = [
                {
                    "initiator_org_id": id_,
                    "initiator_org_name": ORGANIZATIONS[id_][0],
                    "messages_sent": sum(one.units for one in group if one.category in ("sms", "mms")),
                    "total_charges": sum(one.cents for one in group) / 100,
                }
                for id_, group in groups.items()
            ]
            return {"period": {"start_date": start, "end_date": end}, "by_initiator": rows}
        initiators = [
            {
                "initiatingOrganizationId": id_,
                "initiatingOrganizationName": ORGANIZATIONS[id_][0],
                "totalAmount": f"{-sum(one.cents for one in group) / 100:.4f}",
                "totalQuantity": sum(one.units for one in group),
                "transactionCount": len(group),
            }
            for id_, group in groups.items()
        ]
        return {"initiators": initiators}


def day_of(at: float) -> str:
    """The UTC date."""
    return instant(at)[:10]
