"""Silence: how long is normal is learned from the device, within bounds."""

from __future__ import annotations

from hikvision_frappe.listener.silence import Silence, SilenceSettings


def test_the_limit_is_three_times_the_longest_gap_but_at_least_the_floor() -> None:
	silence = Silence(SilenceSettings())
	silence.begin(0.0)
	silence.heard(25.0)
	assert silence.limit == 90.0
	silence.heard(65.0)
	assert silence.limit == 120.0
	assert silence.remaining(100.0) == 85.0


def test_the_limit_has_a_ceiling() -> None:
	silence = Silence(SilenceSettings(ceiling=600.0))
	silence.begin(0.0)
	silence.heard(5_000.0)
	assert silence.limit == 600.0


def test_the_time_without_a_stream_and_our_own_pauses_are_no_gaps() -> None:
	silence = Silence(SilenceSettings())
	silence.begin(0.0)
	silence.heard(10.0)
	silence.begin(1_000.0)
	silence.excused(2_000.0)
	silence.heard(2_001.0)
	assert silence.limit == 90.0


def test_silence_is_proof_only_after_regular_heartbeats_or_many_probes() -> None:
	silence = Silence(SilenceSettings(regular_after=3, probes=2))
	silence.begin(0.0)
	assert not silence.is_proof
	silence.probed(100.0)
	silence.probed(200.0)
	assert silence.is_proof
	silence.heard(201.0, heartbeats=1)
	assert not silence.is_proof
	silence.heard(202.0, heartbeats=2)
	assert silence.is_proof
