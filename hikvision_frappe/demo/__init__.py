"""``python -m hikvision_frappe.demo``: three simulated terminals, the real listener, and a count of what arrived."""
