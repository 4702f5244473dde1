// A reading's form: how far it is, and the result in words.

frappe.ui.form.on("Hikvision History Fetch", {
	refresh(frm) {
		frm.disable_save();
		const name = frm.doc.name;
		frappe.xcall("hikvision_frappe.api.history.progress", { fetch: name }, "GET").then((fetch) => {
			if (frm.doc.name !== name) return;
			frm.layout.wrapper.find(".hikvision-reading").remove();
			const $reading = $(`<div class="hikvision-reading form-section card-section"><div class="section-body px-3 pt-3"></div></div>`);
			frm.get_field("device").section.wrapper.before($reading);
			hikvision.history.follow($reading.find(".section-body"), fetch, () => frm.reload_doc());
		});
		if (!["Queued", "Running"].includes(frm.doc.state)) return;
		if (!frappe.user.has_role(["HR Manager", "Hikvision Manager", "System Manager"])) return;
		frm.add_custom_button(__("Stop Reading"), () => hikvision.history.cancel(name).then(() => frm.reload_doc()));
	},
});
