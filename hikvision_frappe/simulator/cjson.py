"""JSON text as the terminals write it: the layout of cJSON's pretty printer.

Tabs for indent, a tab after the colon, LF, and arrays of objects as ``[{…}, {…}]`` on shared lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPE_TABLE = str.maketrans({**{chr(code): f"\\u{code:04x}" for code in range(32)}, **_ESCAPES})


def print_cjson(value: Any) -> str:
	"""The text of a JSON value in cJSON's layout; raises TypeError for what JSON does not know."""
	return _print(value, 0)


def _print(value: Any, depth: int) -> str:
	if isinstance(value, str):
		return _quoted(value)
	if isinstance(value, bool):
		return "true" if value else "false"
	if value is None:
		return "null"
	if isinstance(value, (int, float)):
		return _number(value)
	if isinstance(value, Mapping):
		return _object(value, depth)
	if isinstance(value, Sequence):
		return f"[{', '.join(_print(item, depth + 1) for item in value)}]"
	raise TypeError(f"not a JSON value: {type(value).__name__}")


@lru_cache(maxsize=4096)
def _quoted(text: str) -> str:
	"""Keys and most values of records are the same again and again."""
	return f'"{text.translate(_ESCAPE_TABLE)}"'


def _number(value: int | float) -> str:
	return str(value) if isinstance(value, int) else f"{value:.15g}"


def _object(members: Mapping[str, Any], depth: int) -> str:
	inner = "\t" * (depth + 1)
	lines = ",\n".join(f"{inner}{_quoted(key)}:\t{_print(item, depth + 1)}" for key, item in members.items())
	return "{\n" + (f"{lines}\n" if lines else "") + "\t" * depth + "}"
