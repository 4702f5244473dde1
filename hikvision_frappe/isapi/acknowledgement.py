"""ISAPI's own words for *we have it*. A device that hears anything else repeats its notification for ever."""

from __future__ import annotations

OK_JSON = b'{"statusCode":1,"statusString":"OK","subStatusCode":"ok"}'
OK_XML = (
	b'<?xml version="1.0" encoding="UTF-8"?>\n'
	b'<ResponseStatus version="2.0" xmlns="http://www.isapi.org/ver20/XMLSchema">'
	b"<requestURL></requestURL><statusCode>1</statusCode><statusString>OK</statusString>"
	b"<subStatusCode>ok</subStatusCode></ResponseStatus>"
)


def acknowledgement(notification: bytes) -> tuple[bytes, str]:
	"""Body and content type of the answer, in the language of the notification."""
	if notification.lstrip()[:1] == b"<":
		return OK_XML, "application/xml"
	return OK_JSON, "application/json"
