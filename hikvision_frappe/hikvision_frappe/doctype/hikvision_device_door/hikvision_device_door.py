"""A door or reader of a device and what its passes mean."""

from frappe.model.document import Document


class HikvisionDeviceDoor(Document):
	pass
