"""Run by the bench's Python in the sites directory: finish the setup wizard of a new site.

The zone has a repeated hour in autumn, which the tests need.
"""

import sys

import frappe
from frappe.desk.page.setup_wizard.setup_wizard import setup_complete
from frappe.utils import now_datetime

frappe.init(site=sys.argv[1])
frappe.connect()
frappe.set_user("Administrator")
year = now_datetime().year
setup_complete(
	{
		"currency": "SEK",
		"full_name": "Test User",
		"company_name": "_Test Company",
		"timezone": "Europe/Stockholm",
		"company_abbr": "_TC",
		"industry": "Manufacturing",
		"country": "Sweden",
		"fy_start_date": f"{year}-01-01",
		"fy_end_date": f"{year}-12-31",
		"language": "english",
		"company_tagline": "Testing",
		"email": "test@example.com",
		"password": "test",
		"chart_of_accounts": "Standard",
	}
)
from erpnext.setup.utils import enable_all_roles_and_domains  # noqa: E402

enable_all_roles_and_domains()
frappe.db.set_single_value("System Settings", "enable_scheduler", 0)
frappe.db.commit()
assert frappe.get_all("Company"), "the setup wizard made no company"
frappe.destroy()
