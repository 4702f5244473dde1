// Readings of histories, with what came of them.

frappe.listview_settings["Hikvision History Fetch"] = {
	add_fields: ["state", "purpose", "total"],
	hide_name_column: true,

	get_indicator(fetch) {
		const colours = { Queued: "blue", Running: "blue", Complete: "green", Unproven: "orange", Failed: "red", Cancelled: "gray" };
		return [__(fetch.state), colours[fetch.state] || "gray", `state,=,${fetch.state}`];
	},

	formatters: {
		rows: (rows, _field, fetch) => (fetch.total ? __("{0} of {1}", [String(rows || 0), String(fetch.total)]) : String(rows || 0)),
		since: (since) => hikvision.lists.short_time(since),
		until: (until) => hikvision.lists.short_time(until),
	},

	refresh(list) {
		if (list.data.length) return;
		const text = list.filter_area.get().length
			? __("No reading fits these filters.")
			: __("No history was read yet. That happens by itself for a gap, and with Fetch History on a device's form.");
		list.$no_result.find("p").first().text(text);
	},
};
