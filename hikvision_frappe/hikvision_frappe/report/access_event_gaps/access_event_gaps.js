// What may be missing, of which device, and who accepted what.

frappe.query_reports["Access Event Gaps"] = {
	filters: [
		{ fieldname: "from_date", label: __("From"), fieldtype: "Date", default: frappe.datetime.add_days(frappe.datetime.get_today(), -30) },
		{ fieldname: "to_date", label: __("To"), fieldtype: "Date", default: frappe.datetime.get_today() },
		{ fieldname: "device", label: __("Device"), fieldtype: "Link", options: "Hikvision Device" },
		{
			fieldname: "state", label: __("State"), fieldtype: "Select",
			options: [
				{ value: "", label: __("All States") },
				{ value: "Unresolved", label: __("Not Resolved") },
				...["Open", "Filling", "Unrecoverable", "Accepted", "Recovered"].map((state) => ({ value: state, label: __(state) })),
			],
		},
		{
			fieldname: "cause", label: __("Noticed By"), fieldtype: "Select",
			options: [
				{ value: "", label: __("Noticed by Anything") },
				...["Serial Jump", "Reconnect", "Silence", "Reboot", "Listener Start", "Not Read"].map((cause) => ({ value: cause, label: __(cause) })),
			],
		},
	],

	formatter(value, row, column, data, default_formatter) {
		const shown = default_formatter(value, row, column, data);
		if (!data) return shown;
		if (column.fieldname === "title") {
			return frappe.utils.get_form_link("Access Event Gap", data.name, true, frappe.utils.escape_html(data.title));
		}
		if (column.fieldname === "state_label") {
			const colours = { Open: "orange", Filling: "blue", Recovered: "green", Unrecoverable: "red", Accepted: "gray" };
			return `<span class="indicator-pill ${colours[data.state]}">${shown}</span>`;
		}
		if (column.fieldname === "until" && !data.until) return `<span class="text-muted">${__("goes on")}</span>`;
		if (column.fieldname === "length" && !data.until) return " ";
		if (["expected", "missing"].includes(column.fieldname) && !data.expected) {
			return `<span class="text-muted">${__("not known")}</span>`;
		}
		return shown;
	},

	onload(report) {
		// The report's page is shared by all reports: only this one has its own words for an empty result.
		const usual = report.get_no_result_message;
		report.get_no_result_message = function () {
			if (this.report_name !== "Access Event Gaps") return usual.call(this);
			const words = __("No gap in this period: nothing is known to be missing.");
			return `<div class="msg-box no-border"><p>${words}</p></div>`;
		};
	},
};
