// The ledger as a list: a colour says whether an event is settled, waits for a person or went wrong.

frappe.provide("hikvision");

// Whom or what an event is about, as plain text: many records name nobody, and an ID tells nobody anything.
hikvision.title_of_event = function (event) {
	const kinds = {
		pass: __("Pass without a person"),
		denial: __("Denial without a person"),
		timeout: __("Door not opened in time"),
		door: __("Door"),
		alarm: __("Alarm"),
		other: __("Other record"),
	};
	if (event.person_name) return [event.person_name, event.person_code].filter(Boolean).join(" · ");
	if (event.person_code) return __("Number {0}", [event.person_code]);
	return kinds[event.kind] || "—";
};

// Those whom the server lets decide about events.
hikvision.may_judge_events = () => frappe.user.has_role(["HR Manager", "Hikvision Manager", "System Manager"]);

frappe.listview_settings["Access Event"] = {
	add_fields: ["state", "kind", "person_code"],
	hide_name_column: true,

	get_indicator(event) {
		const colours = {
			New: "blue",
			"Check-in Made": "green",
			"Already Recorded": "green",
			"Double Read": "gray",
			"Not Counted": "gray",
			"Door Event": "gray",
			"No Person": "gray",
			Denied: "gray",
			Unmatched: "orange",
			"Employee Inactive": "orange",
			"Employee Suspended": "orange",
			"Employee Left": "orange",
			"Ambiguous Hour": "orange",
			"Implausible Time": "orange",
			Failed: "red",
		};
		return [__(event.state), colours[event.state] || "gray", `state,=,${event.state}`];
	},

	formatters: {
		person_name: (_name, _field, event) => hikvision.title_of_event(event),
	},

	onload(list) {
		add_quick_filters(list);
		if (hikvision.may_judge_events()) add_bulk_actions(list);
	},

	refresh(list) {
		if (list.data.length) return;
		const filtered = list.filter_area.get().length;
		const text = filtered
			? __("No event fits these filters.")
			: __("No event yet. Add a device, and let somebody pass a door.");
		list.$no_result.find("p").first().text(text);
	},
};

function add_quick_filters(list) {
	const waiting = [
		"Unmatched",
		"Employee Inactive",
		"Employee Suspended",
		"Employee Left",
		"Ambiguous Hour",
		"Implausible Time",
		"Failed",
	];
	hikvision.lists.add_quick_filters(list, {
		[__("Waiting for a person")]: [["Access Event", "state", "in", waiting]],
		[__("Check-ins made")]: [["Access Event", "state", "=", "Check-in Made"]],
		[__("Passes that did not count")]: [
			["Access Event", "state", "in", ["Double Read", "Not Counted", "Already Recorded"]],
		],
		[__("Denials")]: [["Access Event", "state", "=", "Denied"]],
		[__("Everything")]: [],
	});
}

function add_bulk_actions(list) {
	const api = "hikvision_frappe.api.events.";
	const act = async (method, args, message) => {
		const names = list.get_checked_items(true);
		const changed = await frappe.xcall(api + method, { names, ...args });
		frappe.show_alert({ message: message(changed, names.length), indicator: changed ? "green" : "orange" });
		list.clear_checked_items();
		hikvision.lists.load_again(list);
	};
	list.page.add_actions_menu_item(__("Judge Again"), () =>
		act("replay", {}, (changed, chosen) => __("{0} of {1} events are judged again.", [changed, chosen]))
	);
	list.page.add_actions_menu_item(__("Set Aside"), () =>
		frappe.prompt(
			{ fieldname: "reason", fieldtype: "Small Text", label: __("Reason"), reqd: 1 },
			({ reason }) =>
				act("ignore", { reason }, (changed, chosen) =>
					__("{0} of {1} events were set aside.", [changed, chosen])
				),
			__("Set Aside"),
			__("Set Aside")
		)
	);
}
