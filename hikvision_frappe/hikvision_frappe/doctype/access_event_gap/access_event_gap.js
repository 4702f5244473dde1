// A gap's form: what happened in words, how much of it is filled, and what to do next.

frappe.ui.form.on("Access Event Gap", {
	onload(frm) {
		frappe.realtime.on("hikvision_completeness", (message) => {
			if (message.device === frm.doc.device) frm.reload_doc();
		});
	},

	async refresh(frm) {
		frm.disable_save();
		frm.set_intro("");
		const name = frm.doc.name;
		const told = await frappe.xcall("hikvision_frappe.api.gaps.describe", { gap: name }, "GET");
		if (frm.doc.name !== name) return; // another gap was opened meanwhile
		frm.page.set_title(told.title);
		explain_gap(frm, told);
		add_gap_buttons(frm, told);
		follow_reading(frm, told);
	},
});

function explain_gap(frm, told) {
	const escape = frappe.utils.escape_html;
	const colour = { Open: "orange", Filling: "blue", Recovered: "green", Unrecoverable: "red", Accepted: "blue" }[frm.doc.state];
	const first = `${escape(told.story)} ${escape(told.count)}`;
	const accepted = frm.doc.state === "Accepted" && __("Accepted: {0}", [escape(frm.doc.remark || "")]);
	const lines = [first, accepted, told.advice && `<b>${escape(told.advice)}</b>`];
	if (told.advice && told.obstacle && frm.doc.until) lines.push(escape(told.obstacle));
	frm.set_intro(`<div>${lines.filter(Boolean).join("<br>")}</div>`, colour);
}

function add_gap_buttons(frm, told) {
	const doc = frm.doc;
	if (frappe.model.can_read("Access Event")) {
		frm.add_custom_button(__("Events in the Range"), () => {
			const until = doc.until || frappe.datetime.now_datetime();
			frappe.set_route("List", "Access Event", { device: doc.device, occurred_at: ["between", [doc.since, until]] });
		});
	}
	if (frappe.model.can_read("Hikvision Device")) {
		frm.add_custom_button(__("Device"), () => frappe.set_route("Form", "Hikvision Device", doc.device));
	}
	if (told.actions.includes("fetch")) {
		frm.add_custom_button(__("Fetch Again"), async () => {
			const reading = await frappe.xcall("hikvision_frappe.api.gaps.fetch_again", { gap: doc.name });
			hikvision.history.show(reading);
			frm.reload_doc();
		});
	}
	if (doc.state === "Unrecoverable" && frappe.model.can_create("Bulk Manual Punch")) {
		frm.add_custom_button(__("Punch by Hand"), () => {
			const until = doc.until || frappe.datetime.now_datetime();
			frappe.new_doc("Bulk Manual Punch", { gap: doc.name, device: doc.device, from_time: doc.since, to_time: until });
		});
	}
	if (told.actions.includes("accept")) {
		const button = frm.add_custom_button(__("Accept…"), () => hikvision.accept_gaps([doc.name], () => frm.reload_doc()));
		if (doc.state === "Unrecoverable") button.addClass("btn-primary");
	}
}

function follow_reading(frm, told) {
	frm.layout.wrapper.find(".hikvision-gap-reading").remove();
	if (!told.fetch) return;
	const $reading = $(`<div class="hikvision-gap-reading form-section card-section"><div class="section-body px-3">
		<h5>${__("Reading of the device's history")}</h5><div class="reading"></div></div></div>`);
	frm.get_field("expected").section.wrapper.before($reading);
	hikvision.history.follow($reading.find(".reading"), told.fetch, () => frm.reload_doc());
}
