from hypothesis import given
from hypothesis import strategies as st

from hikvision_frappe.core.people import (
	KnownPerson,
	MatchedBy,
	Standing,
	directory_of,
	without_zeros,
	zero_variants,
)


def employee_of(directory, code, device="D1", **options):
	return directory.resolve(device, code, **options).employee


def test_the_number_on_this_device_comes_before_the_code_and_the_device_id():
	people = [
		KnownPerson("P1", "7", "EMP-CODE"),
		KnownPerson("P2", "", "EMP-DEVICE", device_numbers=(("D1", "7"),)),
	]
	directory = directory_of(people, {"EMP-ID": "7"})
	found = directory.resolve("D1", "7")
	assert (found.employee, found.matched_by, found.person) == ("EMP-DEVICE", MatchedBy.DEVICE_NUMBER, "P2")
	assert employee_of(directory, "7", device="D2") == "EMP-CODE"


def test_attendance_device_id_decides_where_no_person_does():
	found = directory_of([KnownPerson("P1", "7")], {"EMP": "7"}).resolve("D1", "7")
	assert (found.standing, found.employee, found.matched_by) == (
		Standing.MATCHED,
		"EMP",
		MatchedBy.ATTENDANCE_DEVICE_ID,
	)


def test_an_unmatched_person_knows_nothing():
	assert directory_of([KnownPerson("P1", "7")], {}).resolve("D1", "7").standing is Standing.UNKNOWN


def test_capital_and_small_letters_are_one_as_in_the_databases_unique_keys():
	directory = directory_of([KnownPerson("P1", "X1", "B")], {"A": "ab7"})
	assert employee_of(directory, "AB7") == "A"
	assert employee_of(directory, "x1") == "B"


def test_leading_zeros_are_forgiven_only_when_asked_and_only_when_one_fits():
	directory = directory_of([], {"EMP": "0042"})
	assert employee_of(directory, "42") == ""
	assert employee_of(directory, "42", forgive_zeros=True) == "EMP"
	two = directory_of([KnownPerson("P1", "042", "OTHER")], {"EMP": "0042"})
	found = two.resolve("D1", "42", forgive_zeros=True)
	assert (found.standing, found.candidates) == (Standing.AMBIGUOUS, ("EMP", "OTHER"))


def test_the_exact_number_wins_over_one_with_other_zeros():
	directory = directory_of([], {"A": "42", "B": "0042"})
	assert employee_of(directory, "42", forgive_zeros=True) == "A"


def test_one_number_of_two_people_is_ambiguous_and_no_later_rule_is_asked():
	people = [KnownPerson("P1", "7", "A"), KnownPerson("P2", "7", "B")]
	found = directory_of(people, {"C": "7"}).resolve("D1", "7")
	assert (found.standing, found.employee, found.candidates) == (Standing.AMBIGUOUS, "", ("A", "B"))


def test_two_records_of_one_employee_are_no_ambiguity():
	people = [KnownPerson("P1", "7", "A"), KnownPerson("P2", "7", "A")]
	assert employee_of(directory_of(people, {}), "7") == "A"


def test_an_ignored_number_is_ignored_even_where_an_employee_has_it():
	directory = directory_of([KnownPerson("P1", "7", ignored=True)], {"EMP": "7"})
	assert directory.resolve("D1", "7").standing is Standing.IGNORED


def test_an_ignored_number_ignores_no_other_number():
	directory = directory_of([KnownPerson("P1", "007", ignored=True)], {})
	assert directory.resolve("D1", "7", forgive_zeros=True).standing is Standing.UNKNOWN


codes = st.text("0123456789ab", min_size=1, max_size=8)


@given(codes)
def test_zeros_alone_never_vanish_altogether(code):
	assert without_zeros(code)
	assert without_zeros("0" + code) == without_zeros(code)


@given(codes)
def test_the_variants_of_a_number_are_all_numbers_equal_but_for_zeros(code):
	variants = zero_variants(code, longest=10)
	assert code in variants
	assert len(set(variants)) == len(variants)
	assert {without_zeros(variant) for variant in variants} == {without_zeros(code)}


people = st.lists(
	st.builds(
		KnownPerson,
		name=st.uuids().map(str),
		code=st.sampled_from(["", "7", "07", "8"]),
		employee=st.sampled_from(["", "A", "B"]),
		device_numbers=st.lists(st.tuples(st.sampled_from(["D1", "D2"]), st.sampled_from(["7", "9"]))).map(
			tuple
		),
	),
	max_size=5,
)


@given(people.flatmap(lambda p: st.tuples(st.just(p), st.permutations(p))), st.sampled_from(["7", "07", "9"]))
def test_the_order_of_the_people_decides_nothing(orders, code):
	one, other = (directory_of(order, {"C": "7"}).resolve("D1", code, True) for order in orders)
	assert one == other
