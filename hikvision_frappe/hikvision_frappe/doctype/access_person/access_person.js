// A person's form: whose number it is, how much waits for an answer, and where it was seen.

frappe.ui.form.on("Access Person", {
	refresh(frm) {
		frm.set_intro("");
		if (frm.is_new()) return;
		explain(frm);
		add_buttons(frm);
		show_places(frm);
	},
});

function explain(frm) {
	const { status, person_code, waiting_events, suggested_employee, suggestion } = frm.doc;
	if (status === "Ignored") {
		frm.set_intro(__("Passes of this number do not count for attendance."), "yellow");
		return;
	}
	if (status !== "Unmatched") return;
	const lines = [__("Nobody is known by number {0}. Passes that wait for an answer: {1}.", [person_code, waiting_events || 0])];
	if (suggested_employee) {
		lines.push(__("It could be {0}: {1}", [suggested_employee, suggestion]));
	}
	frm.set_intro(`<div>${lines.map(frappe.utils.escape_html).join("<br>")}</div>`, "orange");
}

function add_buttons(frm) {
	const api = "hikvision_frappe.api.people.";
	const persons = [frm.doc.name];
	frm.add_custom_button(__("Events"), () =>
		frappe.set_route("List", "Access Event", { access_person: frm.doc.name })
	);
	if (!frm.perm[0].write) return;
	const change = (method) => frappe.xcall(api + method, { persons }).then(() => frm.reload_doc());
	if (frm.doc.status === "Unmatched") {
		if (hikvision.may_map_people()) {
			frm.add_custom_button(__("Map to Employee"), () => map(frm)).addClass("btn-primary");
		}
		frm.add_custom_button(__("Ignore"), () => change("ignore_people"));
	}
	if (frm.doc.status === "Ignored") frm.add_custom_button(__("Stop Ignoring"), () => change("stop_ignoring"));
}

function map(frm) {
	if (frm.is_dirty()) {
		frappe.msgprint(__("Save or discard your changes first."));
		return;
	}
	hikvision.map_person(frm.doc, (holder) => {
		if (holder === frm.doc.name) frm.reload_doc();
		else frappe.set_route("Form", "Access Person", holder);
	});
}

async function show_places(frm) {
	if (!frm.doc.person_code) return;
	const name = frm.doc.name;
	const places = await frappe.xcall("hikvision_frappe.api.people.waiting_by_device", { person: name }, "GET");
	if (frm.doc.name !== name || !places.length) return;
	const rows = places.map(
		(place) =>
			`<tr><td>${frappe.utils.escape_html(place.title)}</td><td>${place.events}</td><td>${place.waiting}</td></tr>`
	);
	frm.dashboard.add_section(
		`<table class="table table-sm"><thead><tr><th>${__("Device")}</th><th>${__("Events")}</th>
		<th>${__("Waiting")}</th></tr></thead><tbody>${rows.join("")}</tbody></table>`,
		__("Seen At")
	);
}
