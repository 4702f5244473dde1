"""Refused logins outlive the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from hikvision_frappe.listener.refused_logins import RefusedLogins


def test_a_refusal_holds_for_its_revision_and_outlives_the_process(tmp_path: Path) -> None:
	path = tmp_path / "refused.json"
	RefusedLogins(path).remember("gate", "1", "wrong")
	again = RefusedLogins(path)
	assert again.why("gate", "1") == "wrong"
	assert again.why("gate", "2") == again.why("hall", "1") == ""


def test_a_refusal_of_a_device_that_is_gone_or_changed_is_forgotten(tmp_path: Path) -> None:
	path = tmp_path / "refused.json"
	refused = RefusedLogins(path)
	for device in ("gate", "hall", "shed"):
		refused.remember(device, "1", "wrong")
	refused.forget_others({"gate": "1", "hall": "2"})
	again = RefusedLogins(path)
	assert [again.why(device, "1") for device in ("gate", "hall", "shed")] == ["wrong", "", ""]


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"gate": 1}', b'{"gate": ["1"]}', b"\xff"])
def test_a_damaged_file_refuses_nobody(content: bytes, tmp_path: Path) -> None:
	path = tmp_path / "refused.json"
	path.write_bytes(content)
	assert RefusedLogins(path).why("gate", "1") == ""


def test_a_place_that_cannot_be_written_costs_only_the_memory_after_a_restart(tmp_path: Path) -> None:
	refused = RefusedLogins(tmp_path / "missing" / "refused.json")
	refused.remember("gate", "1", "wrong")
	assert refused.why("gate", "1") == "wrong"
