"""A real Frappe bench for the tests and benchmarks: services, packages, sites. Standard library only."""

from tests.bench.harness.bench import Bench, find_bench
from tests.bench.harness.browser import find_chromium
from tests.bench.harness.prepare import Prepared, prepare

__all__ = ["Bench", "Prepared", "find_bench", "find_chromium", "prepare"]
