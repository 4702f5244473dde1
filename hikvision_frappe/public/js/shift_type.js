// Beside HRMS's own form: how far the devices of the shift are, and whether HRMS counts by them or by the clock.

frappe.ui.form.on("Shift Type", {
	async refresh(frm) {
		if (frm.is_new() || !frm.doc.enable_auto_attendance || !frappe.model.can_read("Access Event Gap")) return;
		const name = frm.doc.name;
		const told = await frappe.xcall("hikvision_frappe.api.shifts.of_shift", { shift: name }, "GET");
		if (frm.doc.name !== name || !told.devices.length) return;
		frm.dashboard.clear_headline();
		if (told.follows_clock) show_clock(frm, told);
		else show_devices(frm, told);
		const yesterday = frappe.datetime.add_days(frappe.datetime.get_today(), -1);
		frm.add_custom_button(__("Completeness"), () =>
			frappe.set_route("query-report", "Shift Completeness", { shift: name, from_date: yesterday, to_date: frappe.datetime.get_today() })
		);
	},
});

function show_clock(frm, told) {
	const count = told.devices.length;
	const words =
		count === 1
			? __("A device feeds this shift, but HRMS counts it by the clock: people are called absent although their passes may be on the way.")
			: __("{0} devices feed this shift, but HRMS counts it by the clock: people are called absent although their passes may be on the way.", [count]);
	const button = frm.perm[0].write
		? `<button class="btn btn-xs btn-primary ml-2" data-follow-devices>${__("Follow the Devices")}</button>`
		: "";
	frm.dashboard.set_headline_alert(`<div>${words} ${button}</div>`, "orange");
	$(frm.wrapper).find("[data-follow-devices]").on("click", () => follow_devices(frm));
}

function follow_devices(frm) {
	const follow = async () => {
		await frappe.xcall("hikvision_frappe.api.shifts.follow_devices", { shift: frm.doc.name });
		frappe.show_alert({
			message: __("The shift follows its devices now. To undo it, tick Automatically update Last Sync of Checkin."),
			indicator: "green",
		});
		frm.reload_doc();
	};
	if (frm.is_dirty()) frappe.confirm(__("What you changed in this form and did not save is lost. Go on?"), follow);
	else follow();
}

function show_devices(frm, told) {
	const least = told.devices[0];
	const link = frappe.model.can_read("Hikvision Device")
		? frappe.utils.get_form_link("Hikvision Device", least.name, true, frappe.utils.escape_html(least.title))
		: frappe.utils.escape_html(least.title);
	const words = told.until
		? __("All passes until {0} are in. It waits for {1}: {2}.", [frappe.datetime.str_to_user(told.until), link, frappe.utils.escape_html(least.held_by)])
		: __("Last Sync of Checkin waits for {0}: {1}.", [link, frappe.utils.escape_html(least.held_by)]);
	frm.dashboard.set_headline_alert(`<div>${words}</div>`, told.until ? "blue" : "orange");
}
