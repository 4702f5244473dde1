// For any shift and day: are all passes in, and if not, what does it wait for.

frappe.query_reports["Shift Completeness"] = {
	filters: [
		{ fieldname: "from_date", label: __("From"), fieldtype: "Date", reqd: 1, default: frappe.datetime.add_days(frappe.datetime.get_today(), -1) },
		{ fieldname: "to_date", label: __("To"), fieldtype: "Date", reqd: 1, default: frappe.datetime.get_today() },
		{ fieldname: "shift", label: __("Shift"), fieldtype: "Link", options: "Shift Type" },
		{ fieldname: "only_incomplete", label: __("Only What Waits"), fieldtype: "Check" },
	],
	tree: true,
	name_field: "id",
	parent_field: "parent_id",
	initial_depth: 1,

	formatter(value, row, column, data, default_formatter) {
		const shown = default_formatter(value, row, column, data);
		if (!data) return shown;
		const format = CELLS[column.fieldname];
		return (format && format(data, shown)) || shown;
	},

	onload(report) {
		// The report's page is shared by all reports: only this one has its own words for an empty result.
		const usual = report.get_no_result_message;
		report.get_no_result_message = function () {
			if (this.report_name !== "Shift Completeness") return usual.call(this);
			const words = report.get_filter_value("only_incomplete")
				? __("No shift waits in this period.")
				: __("No shift to show: none has auto attendance.");
			return `<div class="msg-box no-border"><p>${words}</p></div>`;
		};
		report.page.wrapper.on("click", "[data-follow-devices]", (event) => {
			follow_devices(report, event.currentTarget.dataset.followDevices);
		});
	},
};

const VERDICT_COLOURS = {
	Complete: "green",
	Waiting: "orange",
	"Counted Too Early": "red",
	"Not Over": "gray",
	"No Device": "gray",
};

const CELLS = {
	label(data, _shown) {
		const text = frappe.utils.escape_html(data.label);
		if (data.device) return frappe.utils.get_form_link("Hikvision Device", data.device, true, text);
		const link = frappe.model.can_read("Shift Type") ? frappe.utils.get_form_link("Shift Type", data.shift, true, text) : text;
		return `<b>${link}</b>`;
	},
	verdict_label(data, shown) {
		const colour = data.device ? (data.complete ? "green" : data.holds ? "orange" : "gray") : VERDICT_COLOURS[data.verdict];
		return `<span class="indicator-pill ${colour}">${shown}</span>`;
	},
	complete_until: (data) => !data.complete_until && data.device && `<span class="text-muted">${__("never")}</span>`,
	last_sync(data, shown) {
		if (data.device) return "";
		if (!data.last_sync) return `<span class="text-muted">${__("not set")}</span>`;
		return data.by_clock ? `${shown} <span class="text-muted">${__("by the clock")}</span>` : shown;
	},
	waiting(data, shown) {
		if (!data.device || !data.waiting) return " ";
		const states = ["New", "Unmatched", "Failed", "Ambiguous Hour"];
		const query = new URLSearchParams({ device: data.device, state: JSON.stringify(["in", states]) });
		return `<a href="${frappe.utils.generate_route({ type: "doctype", name: "Access Event", doc_view: "List" })}?${query}">${data.waiting}</a>`;
	},
	advice(data, shown) {
		if (data.device || !data.by_clock || !frappe.model.can_write("Shift Type")) return shown;
		const button = `<button class="btn btn-xs btn-primary" data-follow-devices="${frappe.utils.escape_html(data.shift)}">${__("Follow the Devices")}</button>`;
		return `${button} ${shown}`;
	},
};

async function follow_devices(report, shift) {
	await frappe.xcall("hikvision_frappe.api.shifts.follow_devices", { shift });
	frappe.show_alert({
		message: __("{0} follows its devices now. To undo it, tick Automatically update Last Sync of Checkin in the shift.", [
			frappe.utils.escape_html(shift),
		]),
		indicator: "green",
	});
	report.refresh();
}
