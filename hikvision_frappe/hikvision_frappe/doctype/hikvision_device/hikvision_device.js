// The device's form: is it connected, what is wrong, what to do next.

const STATE_COLOURS = { Connected: "green", Connecting: "blue", Waiting: "gray", Retrying: "orange", Stopped: "red" };
const API = "hikvision_frappe.api.device.";
const GAP_COLOURS = { Open: "orange", Filling: "blue", Recovered: "green", Unrecoverable: "red", Accepted: "gray" };

frappe.ui.form.on("Hikvision Device", {
	onload(frm) {
		offer_time_zones(frm);
		frappe.realtime.on("hikvision_device_state", (message) => {
			if (message.device === frm.doc.name && !frm.is_dirty()) frm.reload_doc();
		});
		frappe.realtime.on("hikvision_completeness", (message) => {
			if (message.device === frm.doc.name) show_completeness(frm);
		});
	},

	refresh(frm) {
		if (frm.is_new()) {
			frm.set_intro(__("Save, then press Test connection: it says in plain words what works."), "blue");
			return;
		}
		show_state(frm);
		show_notification_urls(frm);
		add_buttons(frm);
		show_completeness(frm);
	},

	mode(frm) {
		show_notification_urls(frm);
		// A device that posts to us needs no address, unless its history shall be read.
		if (frm.is_new() && !frm.doc.host) frm.set_value("history", frm.doc.mode === "Push" ? 0 : 1);
	},
});

async function offer_time_zones(frm) {
	const name = frm.doc.name;
	const { timezones } = await frappe.xcall("frappe.core.doctype.user.user.get_timezones", {}, "GET");
	frm.fields_dict.time_zone.set_data(timezones);
	if (frm.doc.name === name && frm.is_new() && !frm.doc.time_zone) {
		frm.set_value("time_zone", frappe.sys_defaults.time_zone); // the site's, until somebody says otherwise
	}
}

function add_buttons(frm) {
	if (!frm.perm[0].write) return;
	frm.add_custom_button(__("Test connection"), () => test_connection(frm));
	frm.add_custom_button(__("Events"), () =>
		frappe.set_route("List", "Access Event", { device: frm.doc.name })
	);
	frm.add_custom_button(
		__("Renew notification URL"),
		() =>
			frappe.confirm(
				__("The old URL stops working at once; the terminal must be given the new one. Go on?"),
				() => frm.call({ method: API + "rotate_push_secret", args: { device: frm.doc.name } }).then(() => frm.reload_doc())
			),
		__("Actions")
	);
}

function show_state(frm) {
	frm.set_intro("");
	const state = frm.doc.connection_state;
	if (!frm.doc.enabled) {
		frm.set_intro(__("This device is switched off: nothing is read from it."), "yellow");
		return;
	}
	if (state && frm.doc.mode !== "Push") frm.page.set_indicator(__(state), STATE_COLOURS[state] || "gray");
	if (frm.doc.tls_mode === "HTTPS, unverified") {
		frm.set_intro(__("The certificate is not checked: anyone in between can read the password. Pin it after Test connection."), "red");
	}
	if (frm.doc.last_error) {
		frm.set_intro(`<div>${frappe.utils.escape_html(frm.doc.last_error)}</div>`, state === "Stopped" ? "red" : "orange");
	}
	if (frm.doc.mode !== "Push") warn_without_listener(frm);
	if (Math.abs(frm.doc.clock_offset || 0) >= 30) {
		const seconds = Math.round(frm.doc.clock_offset);
		frm.set_intro(__("The terminal's clock is off by {0} s: set its time or its NTP server.", [seconds]), "orange");
	}
}

// Completeness: until when everything is in, what is missing, and how its history is read

async function show_completeness(frm) {
	if (frm.is_new() || !frappe.model.can_read("Access Event Gap")) return;
	const name = frm.doc.name;
	const asked = (frm.completeness_asked = {}); // a later refresh asks anew; only its answer is shown
	const told = await frappe.xcall("hikvision_frappe.api.gaps.of_device", { device: name }, "GET");
	if (frm.doc.name !== name || frm.completeness_asked !== asked) return;
	show_gaps(frm, told);
	add_history_buttons(frm, told);
	warn_of_timer(frm);
}

function show_gaps(frm, told) {
	const $wrapper = frm.get_field("gaps_html").$wrapper.empty();
	if (!frm.doc.complete_until && frm.doc.enabled) {
		const why = frappe.utils.escape_html(__(frm.doc.held_by || "nothing was heard of the device yet"));
		$(`<p>${__("Until when its passes are complete is not known: {0}. Its shifts wait for it.", [why])}</p>`).appendTo($wrapper);
	}
	if (told.fetch && (told.fetch.under_way || is_recent(told.fetch))) {
		const $reading = $(`<div class="mb-4"><h5>${__("Reading of its history")}</h5><div class="reading"></div></div>`).appendTo($wrapper);
		hikvision.history.follow($reading.find(".reading"), told.fetch, () => show_result(frm));
		if (told.fetch.under_way && told.may_fetch) {
			$(`<button class="btn btn-xs btn-default mt-2">${__("Stop Reading")}</button>`)
				.appendTo($reading)
				.on("click", () => hikvision.history.cancel(told.fetch.name));
		}
	}
	$(gaps_table(told)).appendTo($wrapper);
	if (!told.gaps.length) return;
	const more = told.open > told.gaps.length ? __("and {0} more", [told.open - told.gaps.length]) : "";
	if (more) $(`<p class="text-muted">${more}</p>`).appendTo($wrapper);
}

function show_result(frm) {
	if (frm.is_dirty()) show_completeness(frm);
	else frm.reload_doc();
}

function is_recent(fetch) {
	return fetch.ended_at && moment(frappe.datetime.now_datetime()).diff(moment(fetch.ended_at), "hours") < 24;
}

function gaps_table(told) {
	if (!told.gaps.length) return `<p class="text-muted">${__("No gap: nothing is known to be missing.")}</p>`;
	const escape = frappe.utils.escape_html;
	const rows = told.gaps.map(
		(gap) => `<tr>
			<td><span class="indicator-pill ${GAP_COLOURS[gap.state]}">${__(gap.state)}</span></td>
			<td>${frappe.utils.get_form_link("Access Event Gap", gap.name, true, escape(gap.story))}
				<div class="text-muted">${escape(gap.advice)}</div></td>
			<td class="text-right">${gap.expected ? __("{0} of {1}", [String(gap.found), String(gap.expected)]) : __("not known")}</td>
		</tr>`
	);
	return `<table class="table"><thead><tr><th>${__("State")}</th><th>${__("What Happened")}</th>
		<th class="text-right">${__("Arrived")}</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
}

function add_history_buttons(frm, told) {
	frm.remove_custom_button(__("Fetch History"));
	frm.remove_custom_button(__("Gaps"));
	if (told.may_fetch && !told.obstacle) frm.add_custom_button(__("Fetch History"), () => fetch_history(frm, told));
	frm.add_custom_button(told.open ? `${__("Gaps")} (${told.open})` : __("Gaps"), () =>
		frappe.set_route("List", "Access Event Gap", { device: frm.doc.name })
	);
}

function fetch_history(frm, told) {
	const gaps = told.gaps.filter((gap) => gap.state !== "Filling");
	const times = { since: frappe.datetime.add_days(frappe.datetime.now_datetime(), -1), until: frappe.datetime.now_datetime() };
	const range_of = (name) => gaps.find((gap) => gap.name === name) || times;
	const dialog = new frappe.ui.Dialog({
		title: __("Fetch History"),
		fields: [
			{
				fieldname: "gap", fieldtype: "Select", label: __("What For"), hidden: gaps.length ? 0 : 1,
				options: [...gaps.map((gap) => ({ value: gap.name, label: gap.story })), { value: "", label: __("Another time") }],
				default: gaps.length ? gaps[0].name : "",
				onchange: () => choose(dialog.get_value("gap")),
			},
			{ fieldtype: "Section Break", hide_border: 1 },
			{ fieldname: "since", fieldtype: "Datetime", label: __("From"), reqd: 1 },
			{ fieldname: "column", fieldtype: "Column Break" },
			{ fieldname: "until", fieldtype: "Datetime", label: __("To"), reqd: 1, description: __("Records that are in already are not stored twice.") },
		],
		primary_action_label: __("Fetch"),
		async primary_action(values) {
			const name = values.gap
				? await frappe.xcall("hikvision_frappe.api.gaps.fetch_again", { gap: values.gap })
				: await frappe.xcall("hikvision_frappe.api.history.ask", { device: frm.doc.name, since: values.since, until: values.until });
			dialog.hide();
			show_completeness(frm);
			hikvision.history.show(name);
		},
	});
	const choose = (name) => {
		const range = range_of(name);
		dialog.set_values({ since: range.since, until: range.until || frappe.datetime.now_datetime() });
		for (const field of ["since", "until"]) dialog.set_df_property(field, "read_only", name ? 1 : 0);
	};
	dialog.show();
	choose(gaps.length ? gaps[0].name : "");
}

function warn_of_timer(frm) {
	if (!["regular", "time"].includes(frm.doc.storage_mode) || !frm.doc.storage_minutes) return;
	const minutes = frm.doc.storage_minutes;
	const length = minutes >= 2880 ? __("{0} days", [Math.floor(minutes / 1440)]) : minutes >= 120 ? __("{0} hours", [Math.floor(minutes / 60)]) : __("{0} minutes", [minutes]);
	frm.set_intro(
		__("The terminal deletes its records after {0}: passes of a longer outage are gone. Set its event storage to cycle.", [length]),
		"orange"
	);
}

function warn_without_listener(frm) {
	const shown = (frm.listener_hint = {}); // a later refresh asks anew; only its answer is shown
	frappe.xcall(API + "listener_status").then(({ listeners }) => {
		if (!listeners.length && frm.listener_hint === shown) {
			frm.set_intro(
				__("No listener runs for this site: start <code>bench --site {0} hikvision listen</code>.", [frappe.boot.sitename]),
				"orange"
			);
		}
	});
}

function test_connection(frm) {
	if (frm.is_dirty()) {
		frappe.msgprint(__("Save first: the test uses what is stored."));
		return;
	}
	frappe
		.call({
			method: API + "test_connection",
			args: { device: frm.doc.name },
			freeze: true,
			freeze_message: __("Talking to the terminal…"),
		})
		.then(({ message }) => show_test(frm, message));
}

function show_test(frm, result) {
	const rows = result.steps.map(
		(step) => `<tr>
			<td style="width:2em">${frappe.utils.icon(step.ok ? "tick" : "close", "sm")}</td>
			<td><b>${frappe.utils.escape_html(step.name)}</b></td>
			<td>${frappe.utils.escape_html(step.text)}
				${step.advice ? `<div class="text-muted">${frappe.utils.escape_html(step.advice)}</div>` : ""}</td>
		</tr>`
	);
	const dialog = new frappe.ui.Dialog({
		title: result.ok ? __("The terminal answers") : __("The connection does not work yet"),
		indicator: result.ok ? "green" : "red",
		fields: [{ fieldtype: "HTML", options: `<table class="table">${rows.join("")}</table>` }],
	});
	offer_next_step(frm, result, dialog);
	dialog.show();
	frm.reload_doc();
}

function offer_next_step(frm, result, dialog) {
	const next = (label, method, args, then) => {
		dialog.set_primary_action(label, () =>
			frappe.xcall(API + method, args).then((answer) => {
				dialog.hide();
				then(answer);
			})
		);
	};
	if (result.registered_as) {
		next(
			__("It is {0}: move it to this address", [result.registered_as.title]),
			"move_to_address",
			{ device: result.registered_as.name, address_of: frm.doc.name },
			(name) => frappe.set_route("Form", "Hikvision Device", name)
		);
	} else if (result.fingerprint && ["HTTPS, pinned certificate", "HTTPS, unverified"].includes(frm.doc.tls_mode)
		&& result.fingerprint !== frm.doc.tls_fingerprint) {
		next(
			__("Trust this certificate from now on"),
			"accept_fingerprint",
			{ device: frm.doc.name, fingerprint: result.fingerprint },
			() => frm.reload_doc()
		);
	} else {
		dialog.set_primary_action(__("Close"), () => dialog.hide());
	}
}

function show_notification_urls(frm) {
	const field = frm.get_field("push_help");
	if (frm.is_new() || frm.doc.mode !== "Push" || !frm.perm[0].write) {
		field.$wrapper.empty();
		return;
	}
	frappe.xcall(API + "notification_urls", { device: frm.doc.name }).then((urls) => {
		field.$wrapper.html(notification_help(urls));
		field.$wrapper.find("[data-copy]").on("click", (event) =>
			frappe.utils.copy_to_clipboard(event.currentTarget.dataset.copy)
		);
	});
}

function notification_help(urls) {
	const line = (url) => `<div class="mb-3"><code style="word-break:break-all">${frappe.utils.escape_html(url)}</code>
		<button class="btn btn-xs btn-default" data-copy="${frappe.utils.escape_html(url)}">${__("Copy")}</button></div>`;
	const guessed = urls.guessed
		? `<p class="text-muted">${__("The server's name is a guess: write the IP address by which the terminal reaches this server, and keep it in Hikvision Settings.")}</p>`
		: "";
	const running = urls.listener_running
		? ""
		: `<p class="text-danger">${__("No listener runs now; only the site's own URL works.")}</p>`;
	return `
		<p>${__("Type this URL into the terminal: Network → HTTP Listening.")}</p>
		<h5>${__("Most terminals: plain HTTP to the listener's own port")}</h5>${running}${line(urls.listener)}${guessed}
		<h5>${__("Terminals that can speak HTTPS to a host name: the site itself")}</h5>${line(urls.site)}
		<p class="text-muted">${__("The URL holds the device's secret. Whoever has it can write events of this device.")}</p>`;
}
