"""The meaning of the vendor's codes."""

from __future__ import annotations

import pytest

from hikvision_frappe.core.event import EventKind
from hikvision_frappe.isapi.codes import kind_of, meaning_of, method_of


@pytest.mark.parametrize(
	("pair", "kind", "method"),
	[
		((5, 1), EventKind.PASS, "card"),
		((5, 38), EventKind.PASS, "fingerprint"),
		((5, 75), EventKind.PASS, "face"),
		((5, 181), EventKind.PASS, "pin"),
		((5, 156), EventKind.PASS, "qr"),
		((5, 2), EventKind.PASS, "card+pin"),
		((5, 105), EventKind.PASS, "id card"),
		((5, 8), EventKind.DENIAL, "card"),
		((5, 9), EventKind.DENIAL, "card"),
		((5, 39), EventKind.DENIAL, "fingerprint"),
		((5, 76), EventKind.DENIAL, "face"),
		((5, 80), EventKind.DENIAL, "face"),
		((5, 148), EventKind.DENIAL, "pin"),
		((5, 150), EventKind.DENIAL, "pin"),
		((5, 4), EventKind.TIMEOUT, "card+pin"),
		((5, 21), EventKind.DOOR, ""),
		((5, 22), EventKind.DOOR, ""),
		((3, 1024), EventKind.DOOR, ""),
		((5, 214), EventKind.DOOR, ""),
		((1, 1028), EventKind.ALARM, ""),
		((3, 112), EventKind.OTHER, ""),
	],
)
def test_a_pair_of_codes_has_its_kind_and_method(pair, kind, method):
	assert (kind_of(*pair), method_of(*pair)) == (kind, method)


def test_fifteen_is_not_a_pass_although_one_document_says_so():
	assert kind_of(5, 15) is not EventKind.PASS


def test_the_same_minor_code_means_something_else_under_another_major():
	assert kind_of(3, 75) is not EventKind.PASS


def test_an_unknown_pair_is_never_a_pass():
	assert kind_of(5, 54321) is EventKind.OTHER
	assert kind_of(77, 75) is EventKind.OTHER
	assert meaning_of(5, 54321) == "Event 5/54321"
	assert method_of(5, 54321) == ""


def test_a_known_pair_says_what_it_is():
	assert meaning_of(5, 75) == "Face Authentication Completed"
