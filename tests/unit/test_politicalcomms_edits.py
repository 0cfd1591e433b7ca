"""Editing a project: what can be judged at once, what only together with what the project holds already."""

from typing import Any

import pytest

from paceline.errors import InvalidMessage
from paceline.politicalcomms.rules import check_edit, check_edited, needs_project

TRACKED: dict[str, Any] = {
    "message_text": "Vote: {link}",
    "link_tracking_enabled": True,
    "link_tracking_destination_url": "https://a.org/{ward}",
    "link_tracking_domain_id": "d",
    "link_tracking_param_field": "ward",
    "link_tracking_fallback_url": None,
}
WHOLE = {
    "link_tracking_enabled": True,
    "link_tracking_destination_url": "https://{page}",
    "link_tracking_domain_id": "d",
    "link_tracking_param_field": "page",
    "link_tracking_fallback_url": "https://a.org",
}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "N"},
        {"message_text": "short"},
        {"message_text": "x" * 1600, "opt_out_footer_enabled": False},
        {"opt_out_footer_enabled": False},
        {"link_tracking_enabled": False},
        WHOLE,
    ],
)
def test_most_changes_need_no_look_at_the_project(changes: dict[str, Any]) -> None:
    check_edit(changes)

    assert not needs_project(changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"link_tracking_destination_url": "https://a.org/{zip}"},
        {"link_tracking_param_field": "zip"},
        {"link_tracking_fallback_url": "https://a.org"},
        {"link_tracking_enabled": True},
        {"message_text": "x" * 1592},
        {"opt_out_footer_enabled": True},
    ],
)
def test_what_hangs_together_needs_one(changes: dict[str, Any]) -> None:
    check_edit(changes)

    assert needs_project(changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"link_tracking_destination_url": "https://{phone}"}, "must not be {phone} as a whole"),
        ({"link_tracking_destination_url": "https://a.org/{a}/{b}"}, "may hold one placeholder"),
        ({"link_tracking_destination_url": "a.org"}, "must be a URL"),
        ({"link_tracking_enabled": False, "link_tracking_domain_id": "d"}, "needs link_tracking_enabled = true"),
        ({**WHOLE, "link_tracking_destination_url": "https://a.org"}, "must be left out unless the whole URL"),
        ({"message_text": "x" * 1601}, "at most 1600 characters, this one has 1601$"),
        ({"message_text": "x" * 1592, "opt_out_footer_enabled": True}, "this one has 1601, .STOP=END. included"),
    ],
)
def test_some_mistakes_are_mistakes_whatever_the_project_holds(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidMessage, match=sentence):
        check_edit(changes)


@pytest.mark.parametrize(
    ("project", "changes", "field"),
    [
        (TRACKED, {"link_tracking_destination_url": "https://a.org/{zip}"}, "link_tracking_destination_url"),
        (TRACKED, {"link_tracking_param_field": "zip"}, "link_tracking_destination_url"),
        (TRACKED, {"link_tracking_fallback_url": "https://a.org"}, "link_tracking_fallback_url"),
        (TRACKED, {"link_tracking_destination_url": "https://{ward}"}, "link_tracking_fallback_url"),
        (WHOLE, {"link_tracking_destination_url": "https://a.org"}, "link_tracking_fallback_url"),
        ({}, {"link_tracking_destination_url": "https://a.org"}, "link_tracking_destination_url"),
        ({}, {"link_tracking_enabled": True}, "link_tracking_destination_url"),
        ({"message_text": "x" * 1592}, {"opt_out_footer_enabled": True}, "message_text"),
        ({}, {"message_text": "x" * 1592}, "message_text"),  # a footer is the default
        ({"opt_out_footer_enabled": True}, {"message_text": "x" * 1592}, "message_text"),
    ],
)
def test_a_change_that_breaks_a_rule_with_the_rest_is_found(
    project: dict[str, Any], changes: dict[str, Any], field: str
) -> None:
    check_edit(changes)

    with pytest.raises(InvalidMessage) as refused:
        check_edited(project, changes)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("project", "changes"),
    [
        (TRACKED, {"link_tracking_destination_url": "https://a.org/vote"}),
        (TRACKED, {"link_tracking_destination_url": "https://a.org/{zip}", "link_tracking_param_field": "zip"}),
        (TRACKED, {"link_tracking_domain_id": "e"}),
        (WHOLE, {"link_tracking_fallback_url": "https://b.org"}),
        ({"opt_out_footer_enabled": False}, {"message_text": "x" * 1600}),
        ({"message_text": "x" * 1591}, {"opt_out_footer_enabled": True}),
    ],
)
def test_a_change_that_fits_is_taken(project: dict[str, Any], changes: dict[str, Any]) -> None:
    check_edited(project, changes)
