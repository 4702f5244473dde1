// The people at the doors; first of all those whom nobody knows yet.

frappe.provide("hikvision");

// Mapping names an employee, so whoever may read none cannot do it.
hikvision.may_map_people = () => frappe.model.can_write("Access Person") && frappe.model.can_read("Employee");

frappe.listview_settings["Access Person"] = {
	add_fields: ["status", "suggested_employee", "waiting_events", "last_pass", "person_code", "employee_name"],
	filters: [["status", "=", "Unmatched"]],
	hide_name_column: true,

	get_indicator(person) {
		const colours = { Unmatched: "orange", Matched: "green", Ignored: "gray" };
		return [__(person.status), colours[person.status], `status,=,${person.status}`];
	},

	formatters: {
		// The list shows a title as plain text. Without any name it is the number already.
		title: (title, _field, person) => [...new Set([title, person.person_code])].filter(Boolean).join(" · "),
	},

	button: {
		show: (person) => person.status === "Unmatched" && hikvision.may_map_people(),
		get_label: () => __("Map"),
		get_description: (person) => __("Say whose number {0} is", [frappe.utils.escape_html(person.person_code || "")]),
		action: (person) => hikvision.map_person(person, () => hikvision.lists.load_again(cur_list)),
	},

	onload(list) {
		const filters = ["Unmatched", "Matched", "Ignored"].map((status) => [__(status), [["Access Person", "status", "=", status]]]);
		hikvision.lists.add_quick_filters(list, Object.fromEntries(filters));
		if (frappe.model.can_write("Access Person")) add_bulk_actions(list);
	},

	refresh(list) {
		if (list.data.length) return;
		const status = list.filter_area.get().find((filter) => filter[1] === "status");
		const texts = {
			Matched: __("No number is matched yet. Unmatched ones are offered their employee here."),
			Unmatched: __("Every number at the doors belongs to somebody. A new one appears here with its first pass."),
			Ignored: __("No number is ignored."),
		};
		const text = texts[status && status[3]];
		if (text) list.$no_result.find("p").first().text(text);
	},
};

function add_bulk_actions(list) {
	const api = "hikvision_frappe.api.people.";
	const done = (message) => {
		frappe.show_alert({ message, indicator: "green" });
		list.clear_checked_items();
		hikvision.lists.load_again(list);
	};
	const change = async (method, message) => {
		const persons = list.get_checked_items(true);
		const changed = await frappe.xcall(api + method, { persons });
		done(message(changed));
	};
	if (hikvision.may_map_people()) {
		list.page.add_actions_menu_item(__("Map to Employees"), () => map_several(list, done));
	}
	list.page.add_actions_menu_item(__("Ignore"), () =>
		frappe.confirm(__("The passes of these numbers will not count for attendance. You can take it back. Go on?"), () =>
			change("ignore_people", (count) => __("Numbers ignored: {0}", [count]))
		)
	);
	list.page.add_actions_menu_item(__("Stop Ignoring"), () =>
		change("stop_ignoring", (count) => __("Numbers that wait to be mapped: {0}", [count]))
	);
}

async function map_several(list, done) {
	const api = "hikvision_frappe.api.people.";
	const people = await frappe.xcall(api + "suggestions", { persons: list.get_checked_items(true) });
	if (!people.length) {
		frappe.msgprint(__("Choose people whose status is Unmatched."));
		return;
	}
	const rows = people.map((person) => ({
		person: person.name,
		label: frappe.utils.escape_html([person.person_code, person.person_name].filter(Boolean).join(" · ")),
		employee: person.suggested_employee,
	}));
	const dialog = new frappe.ui.Dialog({
		title: __("Map to Employees"),
		size: "large",
		fields: [
			{
				fieldname: "people", fieldtype: "Table", label: __("People"), data: rows,
				cannot_add_rows: true, cannot_delete_rows: true, in_place_edit: true,
				description: __("Employees are suggested where a number or a name fits only one. Rows left empty stay unmatched."),
				fields: [
					{ fieldname: "label", fieldtype: "Data", label: __("At the Doors"), read_only: 1, in_list_view: 1 },
					{ fieldname: "employee", fieldtype: "Link", options: "Employee", label: __("Employee"), in_list_view: 1 },
				],
			},
		],
		primary_action_label: __("Map"),
		async primary_action({ people: chosen }) {
			const pairs = chosen
				.filter((row) => row.employee)
				.map((row) => ({ person: row.person, employee: row.employee }));
			dialog.hide();
			const mapped = pairs.length ? await frappe.xcall(api + "map_people", { pairs }) : 0;
			done(__("Numbers mapped: {0}. Their passes are being counted.", [mapped]));
		},
	});
	dialog.show();
}

// Ask whose number a person at the doors is, and where; used by list and form.
hikvision.map_person = async function (person, then) {
	const api = "hikvision_frappe.api.people.";
	const places = await frappe.xcall(api + "waiting_by_device", { person: person.name }, "GET");
	const dialog = new frappe.ui.Dialog({
		title: __("Whose number is {0}?", [frappe.utils.escape_html(person.person_code || "")]),
		fields: [
			{ fieldname: "employee", fieldtype: "Link", options: "Employee", label: __("Employee"), reqd: 1, default: person.suggested_employee },
			{
				fieldname: "scope", fieldtype: "Select", label: __("This number is theirs"), default: "everywhere",
				options: [
					{ value: "everywhere", label: __("on all devices") },
					{ value: "devices", label: __("only on these devices") },
				],
			},
			{
				fieldname: "devices", fieldtype: "MultiCheck", label: __("Devices"), columns: 1,
				depends_on: "eval:doc.scope=='devices'",
				options: places.map((place) => ({
					value: place.device,
					label: `${frappe.utils.escape_html(place.title)} (${__("{0} waiting", [place.waiting])})`,
					checked: place.waiting > 0,
				})),
			},
		],
		primary_action_label: __("Map and Count What Waits"),
		async primary_action(values) {
			const args = { person: person.name, employee: values.employee };
			if (values.scope === "devices") args.devices = values.devices; // a null would arrive as an empty text
			const answer = await frappe.xcall(api + "map_person", args);
			dialog.hide();
			frappe.show_alert({ message: __("Mapped. The waiting passes are being counted."), indicator: "green" });
			then(answer.person);
		},
	});
	dialog.show();
};
