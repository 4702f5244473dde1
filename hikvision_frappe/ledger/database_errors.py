"""What the database driver raises, whichever Frappe talks through: PyMySQL in version 15, mysqlclient in version 16.

Version 16 can be told by ``use_mysqlclient`` to take either, so the classes of all installed drivers count. PEP 249
gives them the same names in each.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from types import ModuleType


def _installed_drivers() -> list[ModuleType]:
	drivers = []
	for name in ("pymysql", "MySQLdb"):
		with suppress(ImportError):
			drivers.append(import_module(name))
	return drivers


DRIVERS = _installed_drivers()

ANY_ERROR: tuple[type[Exception], ...] = tuple(driver.Error for driver in DRIVERS)
DATA_ERROR: tuple[type[Exception], ...] = tuple(driver.DataError for driver in DRIVERS)
INTEGRITY_ERROR: tuple[type[Exception], ...] = tuple(driver.IntegrityError for driver in DRIVERS)
INTERFACE_ERROR: tuple[type[Exception], ...] = tuple(driver.InterfaceError for driver in DRIVERS)
INTERNAL_ERROR: tuple[type[Exception], ...] = tuple(driver.InternalError for driver in DRIVERS)
OPERATIONAL_ERROR: tuple[type[Exception], ...] = tuple(driver.OperationalError for driver in DRIVERS)
