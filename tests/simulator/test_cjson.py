from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.simulator.cjson import print_cjson

JSON_VALUES = st.recursive(
	st.none()
	| st.booleans()
	| st.integers(-(10**14), 10**14)
	| st.floats(allow_nan=False, allow_infinity=False, width=32).map(lambda number: float(f"{number:.12g}"))
	| st.text(st.characters(exclude_categories=["Cs"])),
	lambda children: (
		st.lists(children, max_size=4) | st.dictionaries(st.text('abcö\n"', max_size=5), children)
	),
	max_leaves=12,
)


def test_members_are_indented_with_tabs_and_divided_by_a_tab() -> None:
	assert print_cjson({"a": 1, "b": {"c": True}}) == '{\n\t"a":\t1,\n\t"b":\t{\n\t\t"c":\ttrue\n\t}\n}'


def test_objects_of_an_array_share_their_lines() -> None:
	text = print_cjson({"rows": [{"a": 1}, {"a": 2}]})
	assert text == '{\n\t"rows":\t[{\n\t\t\t"a":\t1\n\t\t}, {\n\t\t\t"a":\t2\n\t\t}]\n}'


def test_empty_containers_are_printed_as_cjson_does() -> None:
	assert print_cjson([]) == "[]"
	assert print_cjson({}) == "{\n}"


def test_umlauts_stay_and_control_characters_are_escaped() -> None:
	assert print_cjson("Ján\t\x01/") == '"Ján\\t\\u0001/"'


def test_what_is_not_json_is_refused() -> None:
	with pytest.raises(TypeError):
		print_cjson({"a": object()})


@given(JSON_VALUES)
def test_every_value_reads_back(value: object) -> None:
	assert json.loads(print_cjson(value)) == value
