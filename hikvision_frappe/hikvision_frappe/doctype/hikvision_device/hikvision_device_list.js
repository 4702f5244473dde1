// The devices with what is wrong with them.

frappe.listview_settings["Hikvision Device"] = {
	add_fields: ["enabled", "mode", "connection_state", "last_error", "tls_mode"],
	hide_name_column: true,

	get_indicator(device) {
		if (!device.enabled) return [__("Switched off"), "gray", "enabled,=,0"];
		if (device.mode === "Push") return [__("Push"), "blue", "mode,=,Push"];
		if (device.mode === "History" && !device.connection_state) return [__("History"), "blue", "mode,=,History"];
		const colours = { Connected: "green", Connecting: "blue", Retrying: "orange", Stopped: "red" };
		const state = device.connection_state || "Waiting";
		return [__(state), colours[state] || "gray", `connection_state,=,${state}`];
	},

	formatters: {
		// The list shows a title as plain text.
		title(title, _field, device) {
			const unsafe = device.tls_mode === "HTTPS, unverified" && __("unverified TLS");
			const error = device.enabled && device.last_error;
			return [title, unsafe, error].filter(Boolean).join(" · ");
		},
	},

	onload(list) {
		frappe.realtime.on("hikvision_device_state", () => list.refresh());
		frappe.xcall("hikvision_frappe.api.device.listener_status").then(({ listeners }) => {
			if (listeners.length) return;
			list.page.set_indicator(__("No listener runs"), "orange");
		});
	},

	refresh(list) {
		if (list.data.length || list.filter_area.get().length) return;
		const text = list.can_create
			? __("No device yet. Add one with its address and login; Test connection then says what works.")
			: __("No device yet. A Hikvision Manager can add one.");
		list.$no_result.find("p").first().text(text);
	},
};
