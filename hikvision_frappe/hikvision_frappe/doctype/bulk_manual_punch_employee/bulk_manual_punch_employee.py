"""One pass of one employee, and the check-in that was made of it."""

from frappe.model.document import Document


class BulkManualPunchEmployee(Document):
	pass
