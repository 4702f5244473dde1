"""``python -m hikvision_frappe.soak``: hundreds of simulated devices, two listeners, faults by chance, and a count."""
