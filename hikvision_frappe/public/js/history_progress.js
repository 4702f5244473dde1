// How a reading of a device's history is going: a bar, the numbers, the result in words; live, and after a reload.

frappe.provide("hikvision.history");

hikvision.history.colours = {
	Queued: "blue",
	Running: "blue",
	Complete: "green",
	Unproven: "orange",
	Failed: "red",
	Cancelled: "gray",
};

// The reading in one sentence.
hikvision.history.words = function (fetch) {
	const reason = fetch.reason ? " " + __(fetch.reason) : "";
	const [rows, fresh] = [String(fetch.rows || 0), String(fetch.new_rows || 0)]; // Frappe leaves the number 0 out
	const read = fetch.total
		? __("{0} of {1} records read, {2} of them new.", [rows, fetch.total, fresh])
		: __("{0} records read, {1} of them new.", [rows, fresh]);
	return {
		Queued: __("Waits for its turn.") + reason,
		Running: read,
		Complete: fetch.rows
			? __("Complete: {0} records read, {1} of them new. The device's own total agrees.", [rows, fresh])
			: __("Complete: the device has no records of that time."),
		Unproven: __("Read, but nothing proves that it was all.") + " " + read + reason,
		Failed: __("Could not be read.") + reason + (fetch.again ? " " + __("It is tried again by itself.") : ""),
		Cancelled: __("Stopped. What was read is kept.") + " " + read,
	}[fetch.state];
};

hikvision.history.html = function (fetch) {
	const escape = frappe.utils.escape_html;
	const known = fetch.percent !== null && fetch.percent !== undefined;
	const colour = { Failed: "bg-danger", Unproven: "bg-warning", Complete: "bg-success", Cancelled: "bg-secondary" }[fetch.state] || "";
	const moving = fetch.under_way && !known ? "progress-bar-striped progress-bar-animated" : "";
	const width = known ? fetch.percent : fetch.under_way ? 100 : 0;
	const range = __("{0} to {1}", [frappe.datetime.str_to_user(fetch.since), frappe.datetime.str_to_user(fetch.until)]);
	return `<div class="hikvision-history" data-fetch="${escape(fetch.name)}" data-state="${escape(fetch.state)}">
		<div class="flex justify-between mb-2">
			<span><span class="indicator-pill ${hikvision.history.colours[fetch.state]}">${__(fetch.state)}</span>
				<span class="text-muted ml-2">${escape(range)}</span></span>
			<span class="text-muted">${known ? `${fetch.percent} %` : ""}</span>
		</div>
		<div class="progress mb-2" style="height:8px"><div class="progress-bar ${colour} ${moving}" role="progressbar"
			aria-valuemin="0" aria-valuemax="100" aria-valuenow="${width}" style="width:${width}%"></div></div>
		<div>${escape(hikvision.history.words(fetch) || "")}</div>
	</div>`;
};

// Show the reading in the element and keep it true until it ended or the element is gone. ended: called at its end.
hikvision.history.follow = function (element, fetch, ended) {
	const $element = $(element);
	const mine = {}; // a later call for the same element takes it over
	$element.data("follower", mine);
	let waits = 0;
	const show = (now) => $element.html(hikvision.history.html(now));
	const ask_again = async () => {
		if ($element.data("follower") !== mine || !$.contains(document, $element[0])) return;
		let now;
		try {
			now = await frappe.xcall("hikvision_frappe.api.history.progress", { fetch: fetch.name }, "GET");
		} catch (error) {
			return; // Frappe has shown it
		}
		if ($element.data("follower") !== mine) return;
		if (now.name) show(now);
		if (now.under_way) wait();
		else if (ended) ended(now);
	};
	// Every second at first, every five when it takes minutes.
	const wait = () => setTimeout(ask_again, waits++ < 60 ? 1000 : 5000);
	show(fetch);
	if (fetch.under_way) wait();
};

// A dialog that shows one reading. It can be closed: the reading goes on.
hikvision.history.show = async function (name, ended) {
	const fetch = await frappe.xcall("hikvision_frappe.api.history.progress", { fetch: name }, "GET");
	const dialog = new frappe.ui.Dialog({
		title: __("Reading the History"),
		fields: [{ fieldtype: "HTML", fieldname: "progress" }],
		primary_action_label: __("Close"),
		primary_action: () => dialog.hide(),
	});
	const settle = (now) => {
		if (now.under_way) return;
		dialog.get_secondary_btn().addClass("hide");
		if (ended) ended(now);
	};
	dialog.set_secondary_action_label(__("Stop Reading"));
	dialog.set_secondary_action(() => hikvision.history.cancel(name));
	dialog.show();
	hikvision.history.follow(dialog.get_field("progress").$wrapper, fetch, settle);
	if (!fetch.under_way) settle(fetch);
};

hikvision.history.cancel = async function (name) {
	const stopped = await frappe.xcall("hikvision_frappe.api.history.cancel", { fetch: name });
	if (!stopped) frappe.show_alert({ message: __("It had ended already."), indicator: "orange" });
};
