"""What Frappe is told about the app. Names only: importing this file does nothing."""

from frappe import __version__ as _frappe_version

# A route outside of the desk, as each version calls it, would send all users to the apps screen after their login.
_DESK = "/app" if _frappe_version.startswith("15.") else "/desk"

app_name = "hikvision_frappe"
app_title = "Hikvision"
app_publisher = "hikvision_frappe contributors"
app_description = (
	"Hikvision access control for Frappe HR: attendance, guests and members from the pass at the door"
)
app_email = "hikvision_frappe@example.com"
app_license = "mit"
required_apps = ["frappe/erpnext", "frappe/hrms"]

add_to_apps_screen = [
	{
		"name": "hikvision_frappe",
		"logo": "/assets/hikvision_frappe/images/hikvision_frappe.svg",
		"title": "Hikvision",
		"route": f"{_DESK}/hikvision",
		"has_permission": "hikvision_frappe.api.desk.may_open",
	}
]

before_install = "hikvision_frappe.install.before_install"
after_install = "hikvision_frappe.install.after_install"
after_migrate = "hikvision_frappe.install.after_migrate"
before_uninstall = "hikvision_frappe.install.before_uninstall"

before_tests = "hrms.tests.test_utils.before_tests"

doctype_js = {
	"Shift Type": "public/js/shift_type.js",
	"Hikvision Device": "public/js/history_progress.js",
	"Hikvision History Fetch": "public/js/history_progress.js",
	"Access Event Gap": "public/js/history_progress.js",
}
doctype_list_js = {
	"Access Event": "public/js/lists.js",
	"Access Event Gap": "public/js/lists.js",
	"Access Person": "public/js/lists.js",
	"Hikvision History Fetch": "public/js/lists.js",
}

# A device's notification: POST /hikvision/event/<push key>.<secret>
before_request = ["hikvision_frappe.api.push.answer_notification"]

scheduler_events = {
	"cron": {
		# Only a sweep: what a crash or a missing listener left. Live events are drained beside the listener.
		"* * * * *": [
			"hikvision_frappe.tasks.drain.enqueue_if_waiting",
			"hikvision_frappe.tasks.keeper.keep_and_read",
		],
	},
}

doc_events = {
	# A number entered there is a mapping: what waited for it is judged again.
	"Employee": {"on_update": "hikvision_frappe.attendance.people.on_employee_update"},
	"Employee Checkin": {"on_trash": "hikvision_frappe.attendance.events.on_checkin_trash"},
}

default_log_clearing_doctypes = {"Access Event": 400, "Access Event Gap": 400, "Hikvision History Fetch": 90}

# A check-in, or a user, may be deleted although the ledger names it; the ledger keeps what it knows.
ignore_links_on_delete = [
	"Access Event",
	"Access Event Gap",
	"Hikvision History Fetch",
	"Hikvision Serial Epoch",
]
