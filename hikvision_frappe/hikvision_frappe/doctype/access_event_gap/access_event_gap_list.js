// Gaps as a list: the colour says whether one waits for its rows, or for a person.

frappe.provide("hikvision");

// Ask for a remark and accept these gaps; then: what to do when it is done.
hikvision.accept_gaps = function (gaps, then) {
	const many = gaps.length > 1;
	frappe.prompt(
		[
			{
				fieldtype: "HTML",
				options: `<p>${__("An accepted gap holds attendance back no longer. Whoever has passes in that time without check-ins may be called absent: enter their check-ins first.")}</p>`,
			},
			{
				fieldname: "remark", fieldtype: "Small Text", label: __("Remark"), reqd: 1,
				description: __("What was done about the missing passes, for whoever asks later."),
			},
		],
		async ({ remark }) => {
			const accepted = await frappe.xcall("hikvision_frappe.api.gaps.accept", { gaps, remark });
			frappe.show_alert({
				message: __("{0} of {1} gaps were accepted.", [accepted, gaps.length]),
				indicator: accepted ? "green" : "orange",
			});
			then();
		},
		many ? __("Accept {0} Gaps", [gaps.length]) : __("Accept This Gap"),
		__("Accept")
	);
};

frappe.listview_settings["Access Event Gap"] = {
	add_fields: ["state", "reason", "until", "expected", "found", "cause"],
	hide_name_column: true,

	get_indicator(gap) {
		const colours = { Open: "orange", Filling: "blue", Recovered: "green", Unrecoverable: "red", Accepted: "gray" };
		return [__(gap.state), colours[gap.state] || "gray", `state,=,${gap.state}`];
	},

	formatters: {
		since: (since) => hikvision.lists.short_time(since),
		until: (until) => (until ? hikvision.lists.short_time(until) : __("goes on")),
		missing: (_missing, _field, gap) =>
			gap.expected ? __("{0} of {1}", [String(gap.expected - gap.found), String(gap.expected)]) : __("not known"),
	},

	onload(list) {
		hikvision.lists.add_quick_filters(list, {
			[__("Not resolved")]: [["Access Event Gap", "state", "in", ["Open", "Filling", "Unrecoverable"]]],
			[__("Waiting for a person")]: [["Access Event Gap", "state", "=", "Unrecoverable"]],
			[__("Devices not heard now")]: [
				["Access Event Gap", "until", "is", "not set"],
				["Access Event Gap", "state", "in", ["Open", "Filling", "Unrecoverable"]],
			],
			[__("Accepted")]: [["Access Event Gap", "state", "=", "Accepted"]],
			[__("Everything")]: [],
		});
		if (!frappe.user.has_role(["HR Manager", "Hikvision Manager", "System Manager"])) return;
		list.page.add_actions_menu_item(__("Accept…"), () =>
			hikvision.accept_gaps(list.get_checked_items(true), () => {
				list.clear_checked_items();
				hikvision.lists.load_again(list);
			})
		);
	},

	refresh(list) {
		if (list.data.length) return;
		const text = list.filter_area.get().length
			? __("No gap fits these filters.")
			: __("No gap: nothing is known to be missing. One opens by itself when a device is not heard, cannot be read, or passes over a number.");
		list.$no_result.find("p").first().text(text);
	},
};
