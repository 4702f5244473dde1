"""A shift whose attendance waits for this device."""

from frappe.model.document import Document


class HikvisionDeviceShift(Document):
	pass
