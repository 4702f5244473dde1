frappe.listview_settings["Hikvision Device"] = {
	add_fields: ["enabled", "mode", "connection_state", "last_error", "tls_mode"],
	hide_name_column: true,

	get_indicator(device) {
		if (!device.enabled) return [__("Switched off"), "gray", "enabled,=,0"];
		if (device.mode === "Push") return [__("Push"), "blue", "mode,=,Push"];
		const colours = { Connected: "green", Connecting: "blue", Retrying: "orange", Stopped: "red" };
		const state = device.connection_state || "Waiting";
		return [__(state), colours[state] || "gray", `connection_state,=,${state}`];
	},

	formatters: {
		title(title, _field, device) {
			const unsafe = device.tls_mode === "HTTPS, unverified" ? ` <span class="text-danger">${__("unverified TLS")}</span>` : "";
			return frappe.utils.escape_html(title) + unsafe;
		},
	},

	onload(list) {
		frappe.realtime.on("hikvision_device_state", () => list.refresh());
		frappe.xcall("hikvision_frappe.api.device.listener_status").then(({ listeners }) => {
			if (listeners.length) return;
			list.page.set_indicator(__("No listener runs"), "orange");
		});
	},
};
