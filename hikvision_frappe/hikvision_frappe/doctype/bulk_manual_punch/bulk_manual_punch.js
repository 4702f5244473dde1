// Passes written down by hand: say when and why, get the people, set their times, submit.

const PUNCH_API = "hikvision_frappe.api.manual_punch.";

frappe.ui.form.on("Bulk Manual Punch", {
	refresh(frm) {
		frm.set_intro("");
		explain(frm);
		add_buttons(frm);
		colour_rows(frm);
		look_again(frm);
	},

	// The check-ins are made once the submit is committed, so its answer does not know them yet.
	on_submit(frm) {
		frm.reload_doc();
	},

	// The gap says which device it was, and since when until when.
	async gap(frm) {
		if (!frm.doc.gap) return;
		const { message: gap } = await frappe.db.get_value("Access Event Gap", frm.doc.gap, ["device", "since", "until"]);
		if (!gap || !gap.device) return;
		await frm.set_value({
			device: gap.device,
			from_time: gap.since,
			to_time: gap.until || frappe.datetime.now_datetime(),
		});
	},
});

function explain(frm) {
	const { docstatus, status, unmade } = frm.doc;
	if (docstatus === 0 && !(frm.doc.employees || []).length) {
		frm.set_intro(__("Say when the terminal was down and why you write the passes down, then press Get Employees."), "blue");
	} else if (docstatus === 0) {
		frm.set_intro(__("With Submit, an Employee Checkin is made of each row. It cannot be changed after that, only cancelled."), "blue");
	} else if (status === "Waiting") {
		frm.set_intro(__("The check-ins are being made. If rows still wait in some minutes, press Try Again."), "blue");
	} else if (unmade) {
		frm.set_intro(__("Rows refused: {0}. Each says why. Put it right, then press Try Again.", [unmade]), "orange");
	}
	if (docstatus === 1) tell_what_came_since(frm);
}

// The terminal may have told its history after all.
async function tell_what_came_since(frm) {
	const name = frm.doc.name;
	const people = await frappe.xcall(PUNCH_API + "told_since", { name }, "GET");
	if (!people || frm.doc.name !== name) return;
	frm.dashboard.set_headline_alert(
		__("The terminal has told passes of this time by now, of {0} of these people. Cancel and amend without them, so that only the real ones count.", [people]),
		"orange"
	);
}

function add_buttons(frm) {
	if (frm.doc.docstatus === 0 && frm.perm[0].write) {
		frm.add_custom_button(__("Get Employees"), () => get_employees(frm));
		if ((frm.doc.employees || []).length) frm.add_custom_button(__("Set Times"), () => set_times(frm));
	}
	const unfinished = ["Waiting", "Needs Attention"].includes(frm.doc.status);
	if (frm.doc.docstatus === 1 && unfinished && frm.perm[0].submit) {
		frm.add_custom_button(__("Try Again"), async () => {
			await frappe.xcall(PUNCH_API + "retry", { name: frm.doc.name });
			frm.reload_doc();
		}).addClass("btn-primary");
	}
}

const LOOKS = 60;
const LOOK_MS = 3000;

// While a background job makes the check-ins, for a few minutes.
function look_again(frm) {
	const { name, docstatus, status } = frm.doc;
	if (docstatus !== 1 || status !== "Waiting") {
		frm.looks = 0;
		return;
	}
	frm.looks = (frm.looks || 0) + 1;
	if (frm.looks > LOOKS) return;
	setTimeout(() => {
		if (window.cur_frm === frm && frm.doc.name === name && frm.doc.status === "Waiting") frm.reload_doc();
	}, LOOK_MS);
}

function colour_rows(frm) {
	const colours = { "Check-in Made": "green", "Already There": "blue", Refused: "red", "Taken Back": "gray" };
	frm.fields_dict.employees.grid.grid_rows.forEach((row) => {
		const colour = colours[row.doc.state];
		const cell = row.columns && row.columns.state && row.columns.state.static_area;
		if (colour && cell) cell.html(`<span class="indicator-pill ${colour}">${__(row.doc.state)}</span>`);
	});
}

function get_employees(frm) {
	if (!frm.doc.from_time || !frm.doc.to_time) {
		frappe.msgprint(__("Say first from when until when the terminal was down."));
		return;
	}
	const has_device = Boolean(frm.doc.device);
	const dialog = new frappe.ui.Dialog({
		title: __("Get Employees"),
		fields: [
			{
				fieldname: "usual", fieldtype: "Check", label: __("Only who usually passes at this device"), default: has_device ? 1 : 0,
				hidden: has_device ? 0 : 1, description: __("Who passed there on two days or more of the 30 before."),
			},
			{ fieldname: "shift", fieldtype: "Link", options: "Shift Type", label: __("Shift") },
			{ fieldname: "people_column", fieldtype: "Column Break" },
			{ fieldname: "department", fieldtype: "Link", options: "Department", label: __("Department") },
			{ fieldname: "branch", fieldtype: "Link", options: "Branch", label: __("Branch") },
			{ fieldname: "times", fieldtype: "Section Break", label: __("Passes") },
			{ fieldname: "ins", fieldtype: "Check", label: __("Arrivals (IN)"), default: 1 },
			{ fieldname: "in_at", fieldtype: "Datetime", label: __("IN at"), depends_on: "ins", description: __("Left empty: the beginning of each one's shift.") },
			{ fieldname: "times_column", fieldtype: "Column Break" },
			{ fieldname: "outs", fieldtype: "Check", label: __("Departures (OUT)"), default: 1 },
			{ fieldname: "out_at", fieldtype: "Datetime", label: __("OUT at"), depends_on: "outs", description: __("Left empty: the end of each one's shift.") },
			{
				fieldname: "note", fieldtype: "HTML",
				options: `<p class="text-muted small">${__("Only times within the time of this document are proposed. Who has a check-in in that time, is on leave or has a holiday is left out.")}</p>`,
			},
		],
		primary_action_label: __("Get"),
		async primary_action(values) {
			const ways = [values.ins && "IN", values.outs && "OUT"].filter(Boolean);
			if (!ways.length) {
				frappe.msgprint(__("Choose arrivals, departures, or both."));
				return;
			}
			const found = await frappe.xcall(PUNCH_API + "propose", {
				from_time: frm.doc.from_time,
				to_time: frm.doc.to_time,
				device: frm.doc.device || "",
				usual: values.usual || 0,
				shift: values.shift || "",
				department: values.department || "",
				branch: values.branch || "",
				in_at: (values.ins && values.in_at) || "",
				out_at: (values.outs && values.out_at) || "",
				ways,
			});
			dialog.hide();
			take_over(frm, found);
		},
	});
	dialog.show();
}

function take_over(frm, found) {
	const key = (row) => [row.employee, row.log_type, row.time].join("|");
	const known = new Set((frm.doc.employees || []).map(key));
	frm.doc.employees = (frm.doc.employees || []).filter((row) => row.employee); // the empty first row of a new form
	const added = found.rows.filter((row) => !known.has(key(row)));
	added.forEach((row) => frm.add_child("employees", { ...row, state: "Waiting" }));
	frm.refresh_field("employees");
	if (added.length) frm.dirty();
	frm.trigger("refresh");
	tell_what_was_found(found, added.length);
}

function tell_what_was_found(found, added) {
	const reasons = [
		[found.present, __("have a check-in in that time")],
		[found.on_leave, __("are on leave")],
		[found.without_time, __("have no beginning or end of a shift in that time, or a holiday")],
		[found.cut_off, __("rows did not fit: make another document for them")],
	].filter(([count]) => count);
	const left_out = reasons.map(([count, words]) => `<li>${count} ${words}</li>`).join("");
	const message = [
		added ? __("Rows added: {0}.", [added]) : __("Nobody's pass seems to be missing."),
		left_out ? `${__("Left out:")}<ul>${left_out}</ul>` : "",
	].join(" ");
	if (added && !left_out) frappe.show_alert({ message, indicator: "green" });
	else frappe.msgprint({ title: __("Get Employees"), indicator: added ? "green" : "orange", message });
}

function set_times(frm) {
	const dialog = new frappe.ui.Dialog({
		title: __("Set Times"),
		fields: [
			{ fieldname: "log_type", fieldtype: "Select", options: "IN\nOUT", label: __("Of all rows with"), default: "IN", reqd: 1 },
			{
				fieldname: "time", fieldtype: "Datetime", label: __("Time"),
				description: __("Left empty: the beginning (IN) or the end (OUT) of the shift, where it is known."),
			},
		],
		primary_action_label: __("Set"),
		async primary_action({ log_type, time }) {
			dialog.hide();
			const rows = (frm.doc.employees || []).filter((row) => row.log_type === log_type && (time || row.shift_time));
			for (const row of rows) {
				await frappe.model.set_value(row.doctype, row.name, "time", time || row.shift_time);
			}
			frm.refresh_field("employees");
			frappe.show_alert({ message: __("Times set: {0}.", [rows.length]), indicator: rows.length ? "green" : "orange" });
		},
	});
	dialog.show();
}
