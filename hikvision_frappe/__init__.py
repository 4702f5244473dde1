"""Hikvision access control for Frappe HR. Imports nothing, so that its Frappe-free packages stay importable."""

__version__ = "0.1.0"
