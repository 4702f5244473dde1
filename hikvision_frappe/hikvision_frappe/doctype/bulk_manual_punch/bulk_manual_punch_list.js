// Documents of passes written down by hand, and which of them need a person.

frappe.listview_settings["Bulk Manual Punch"] = {
	add_fields: ["status"],
	hide_name_column: false,
	has_indicator_for_draft: true,
	has_indicator_for_cancelled: true,

	get_indicator(punch) {
		const colours = { Draft: "red", Waiting: "blue", Done: "green", "Needs Attention": "orange", Cancelled: "gray" };
		return [__(punch.status), colours[punch.status], `status,=,${punch.status}`];
	},

	refresh(list) {
		if (list.data.length || list.filter_area.get().length) return;
		list.$no_result
			.find("p")
			.first()
			.text(__("Nothing was written down by hand. While a terminal is down, the passes that it misses can be entered here."));
	},
};
