// Passes that came after their Attendance: look, choose, and have the Attendance made anew.

frappe.query_reports["Late Passes"] = {
	filters: [
		{
			fieldname: "from_date", label: __("From"), fieldtype: "Date", reqd: 1,
			default: frappe.datetime.add_days(frappe.datetime.get_today(), -30),
		},
		{ fieldname: "to_date", label: __("To"), fieldtype: "Date", reqd: 1, default: frappe.datetime.get_today() },
		{ fieldname: "employee", label: __("Employee"), fieldtype: "Link", options: "Employee" },
		{ fieldname: "shift", label: __("Shift"), fieldtype: "Link", options: "Shift Type" },
		{ fieldname: "department", label: __("Department"), fieldtype: "Link", options: "Department" },
		{ fieldname: "device", label: __("Device"), fieldtype: "Link", options: "Hikvision Device" },
	],

	get_datatable_options: (options) => Object.assign(options, { checkboxColumn: true }),

	formatter(value, row, column, data, default_formatter) {
		const shown = default_formatter(value, row, column, data);
		if (!data) return shown;
		if (column.fieldname === "becomes" && data.changes_status) return `<b>${shown}</b>`;
		if (column.fieldname === "refusal" && value) return `<span class="text-muted">${shown}</span>`;
		return shown;
	},

	onload(report) {
		const may = ["can_cancel", "can_submit", "can_create"].every((right) => frappe.model[right]("Attendance"));
		if (!may || !frappe.model.can_write("Employee Checkin")) return;
		report.page.add_inner_button(__("Cancel and Reprocess"), () => reprocess_late(report)).addClass("btn-primary");
	},
};

const POLL_MS = 1000;
const PATIENCE_MS = 30 * 60 * 1000;

function reprocess_late(report) {
	const chosen = report.datatable ? report.get_checked_items() : [];
	const ready = chosen.filter((row) => row && !row.refusal);
	if (!ready.length) {
		frappe.msgprint(
			chosen.length
				? __("None of the chosen rows can be reprocessed. The column Why Not says what to do first.")
				: __("Choose rows first: tick the box at their left.")
		);
		return;
	}
	const lines = [
		__("Attendances to be cancelled and made anew with all their passes: {0}.", [ready.length]),
	];
	if (chosen.length > ready.length) {
		lines.push(__("Left as they are, because something stands in the way: {0}.", [chosen.length - ready.length]));
	}
	lines.push(__("Each new Attendance says who did it and what it was before. Go on?"));
	frappe.confirm(lines.join("<br>"), async () => {
		const names = ready.map((row) => row.attendance);
		const answer = await frappe.xcall("hikvision_frappe.api.late_passes.reprocess", { names });
		const result = answer.job ? await follow(answer.job, names.length) : answer;
		if (result) show_result(result);
		report.datatable.rowmanager.checkAll(false); // else it would go on counting rows that are gone
		report.refresh();
	});
}

// A job's progress is asked for: not every site has a realtime server.
async function follow(job, total) {
	const title = __("Reprocessing");
	for (const end = Date.now() + PATIENCE_MS; Date.now() < end; ) {
		const state = await frappe.xcall("hikvision_frappe.api.late_passes.progress", { job }, "GET");
		if (!state.known) break;
		frappe.show_progress(title, state.rows.length, total, __("{0} of {1}", [state.rows.length, total]), true);
		if (state.done) {
			frappe.hide_progress();
			return state;
		}
		await new Promise((resolve) => setTimeout(resolve, POLL_MS));
	}
	frappe.hide_progress();
	frappe.msgprint(__("The work goes on in the background. Load the report again later: what is done is gone from it."));
	return null;
}

function show_result(result) {
	const escape = frappe.utils.escape_html;
	const done = result.rows.filter((row) => row.state === "Done");
	const others = result.rows.filter((row) => row.state !== "Done");
	const who = (row) => escape([row.employee_name || row.employee || row.attendance, row.day && frappe.datetime.str_to_user(row.day)].filter(Boolean).join(", "));
	const line = (row) => `<tr><td>${who(row)}</td><td>${escape(row.before)}</td><td>${
		row.made ? frappe.utils.get_form_link("Attendance", row.made, true, escape(row.after)) : escape(row.message)
	}</td></tr>`;
	const note = result.error ? `<p class="text-danger">${__("The work stopped early ({0}). What is listed here was done; start the others again.", [escape(result.error)])}</p>` : "";
	frappe.msgprint({
		title: __("Reprocessed: {0} of {1}", [done.length, result.total]),
		indicator: others.length || result.error ? "orange" : "green",
		wide: true,
		message: `${note}<table class="table table-sm"><thead><tr><th>${__("Attendance")}</th><th>${__("Before")}</th>
			<th>${__("After")}</th></tr></thead><tbody>${[...others, ...done].map(line).join("")}</tbody></table>`,
	});
}
