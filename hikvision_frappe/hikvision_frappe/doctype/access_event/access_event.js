// An event's form: what became of it in words, and what to do next.

frappe.ui.form.on("Access Event", {
	setup(frm) {
		// Frappe would write the site's zone below them.
		for (const utc of ["occurred_at_utc", "next_attempt_at"]) frm.get_docfield(utc).hide_timezone = 1;
	},

	refresh(frm) {
		frm.disable_save();
		frm.page.set_title(hikvision.title_of_event(frm.doc));
		explain(frm);
		link_checkin(frm);
		add_actions(frm);
	},
});

// [what it means where the event itself gives no reason, what to do], by state.
function words_of(event) {
	const person = frappe.utils.escape_html(event.person_code || "");
	return {
		New: [
			__("This pass waits to be judged."),
			__("That takes less than a second while the listener runs, and about a minute without it."),
		],
		"Check-in Made": [__("An Employee Checkin was made of this pass."), ""],
		"Already Recorded": [__("HR had this log already: from the mobile app, or entered by hand."), ""],
		"Double Read": [
			__("The person was read again shortly after a counted pass."),
			__("Count it if it was a pass of its own."),
		],
		Unmatched: [
			__("Nobody has the person number {0} on this device.", [person]),
			__("Say whose number it is, and all of its passes are counted."),
		],
		"Employee Inactive": [
			__("The employee is inactive."),
			__("HR takes no check-ins of inactive employees: make the employee active and judge the pass again, or set it aside."),
		],
		"Employee Suspended": [
			__("The employee is suspended."),
			__("Count the pass, or set it aside."),
		],
		"Employee Left": [
			__("The employee has left."),
			__("The badge still opens doors: remove the person from the terminals. Correct the relieving date and judge the pass again, or set it aside."),
		],
		"Ambiguous Hour": [
			__("At the end of daylight saving time the clock showed this hour twice. Beside another check-in this time would be wrong."),
			__("Count it with a time that keeps the right order."),
		],
		"Implausible Time": [
			__("The terminal had lost its clock when it wrote this record."),
			__("Check its clock and battery. Count the pass with the right time, or set it aside."),
		],
		"Not Counted": [__("This pass does not count for attendance."), ""],
		Denied: [__("The door stayed shut: this is no pass."), ""],
		"No Person": [__("The device told a pass without saying whose."), ""],
		"Door Event": [__("A door, a lock or an alarm: no pass of a person."), ""],
		Failed: [
			__("The check-in could not be made."),
			event.next_attempt_at
				? __("It will be tried again by itself.")
				: __("It was tried {0} times and is not tried again by itself. Put right what the reason says, then judge it again.", [event.attempts]),
		],
	}[event.state];
}

const COLOURS = { green: "green", red: "red", orange: "orange", blue: "blue" };

function explain(frm) {
	frm.set_intro("");
	const [meaning, advice] = words_of(frm.doc) || ["", ""];
	const told = frm.doc.state === "Check-in Made" ? "" : frappe.utils.escape_html(frm.doc.state_reason || "");
	const next = advice && hikvision.may_judge_events() ? `<b>${advice}</b>` : "";
	const lines = [told || meaning, next].filter(Boolean);
	const colour = frappe.get_indicator(frm.doc)[1];
	if (lines.length) frm.set_intro(`<div>${lines.join("<br>")}</div>`, COLOURS[colour] || "blue");
	frm.toggle_display("state_reason", !told && Boolean(frm.doc.state_reason)); // it stands above already
}

function link_checkin(frm) {
	if (!frm.doc.employee_checkin || !frappe.model.can_read("Employee Checkin")) return;
	frm.add_custom_button(__("Open Check-in"), () =>
		frappe.set_route("Form", "Employee Checkin", frm.doc.employee_checkin)
	);
}

async function add_actions(frm) {
	const name = frm.doc.name;
	const may_map = frappe.model.can_write("Access Person") && frappe.model.can_read("Employee");
	if (frm.doc.state === "Unmatched" && frm.doc.access_person && may_map) {
		frm.add_custom_button(__("Say Whose Number It Is"), () =>
			frappe.set_route("Form", "Access Person", frm.doc.access_person)
		).addClass("btn-primary");
	}
	const possible = await frappe.xcall("hikvision_frappe.api.events.actions", { name }, "GET");
	if (frm.doc.name !== name) return; // another event was opened meanwhile
	const buttons = {
		replay: [__("Judge Again"), () => act(frm, "replay", { names: [name] })],
		count: [__("Count Anyway"), () => count_anyway(frm)],
		ignore: [__("Set Aside"), () => with_reason(__("Set Aside"), (reason) => act(frm, "ignore", { names: [name], reason }))],
		undo: [__("Take Back the Check-in"), () => with_reason(__("Take Back the Check-in"), (reason) => act(frm, "undo", { name, reason }))],
	};
	for (const action of possible) frm.add_custom_button(buttons[action][0], buttons[action][1], __("Actions"));
}

function with_reason(title, then) {
	const field = { fieldname: "reason", fieldtype: "Small Text", label: __("Reason"), reqd: 1 };
	frappe.prompt(field, ({ reason }) => then(reason), title, title);
}

function count_anyway(frm) {
	const clock_lost = frm.doc.state === "Implausible Time";
	const fields = [
		{
			fieldname: "employee", fieldtype: "Link", options: "Employee", label: __("Employee"),
			default: frm.doc.employee, read_only: frm.doc.employee ? 1 : 0, reqd: frm.doc.state === "Unmatched" ? 1 : 0,
			description: frm.doc.employee ? "" : __("Left empty: whoever the person number belongs to."),
		},
		{
			fieldname: "time", fieldtype: "Datetime", label: __("Time"), reqd: clock_lost ? 1 : 0,
			description: clock_lost ? __("In the site's time zone.") : __("Left empty: as the device told it."),
		},
		{
			fieldname: "log_type", fieldtype: "Select", label: __("Log Type"), options: "\nIN\nOUT", default: frm.doc.log_type,
			description: __("Left empty: what the door says."),
		},
		{ fieldname: "reason", fieldtype: "Small Text", label: __("Reason"), reqd: 1 },
	];
	frappe.prompt(
		fields,
		(values) => act(frm, "count_anyway", { name: frm.doc.name, ...values }),
		__("Make the check-in of this pass"),
		__("Make Check-in")
	);
}

async function act(frm, method, args) {
	await frappe.xcall("hikvision_frappe.api.events." + method, args);
	await frm.reload_doc();
}
