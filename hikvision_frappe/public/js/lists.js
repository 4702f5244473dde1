// What the lists have in common.

frappe.provide("hikvision.lists");

// A time that fits into a column: the year where it is not this one.
hikvision.lists.short_time = function (time) {
	if (!time) return "";
	const when = moment(time);
	return when.format(when.year() === moment().year() ? "D MMM HH:mm" : "D MMM YYYY HH:mm");
};

// A menu of filters, by label; one without conditions shows everything.
hikvision.lists.add_quick_filters = function (list, filters) {
	for (const [label, filter] of Object.entries(filters)) {
		const show = async () => {
			await list.filter_area.clear(false);
			if (filter.length) await list.filter_area.add(filter);
			else list.refresh();
		};
		list.page.add_inner_button(label, show, __("Show"));
	}
};

// A list does not ask the same again within three seconds, although the answer has just changed.
hikvision.lists.load_again = function (list) {
	list.last_args = null;
	return list.refresh();
};
