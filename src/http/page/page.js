// Asks /status and /recent once a second and draws what they say. All that comes from records is set as text, never as markup.
"use strict";

const EVERY_MS = 1000;
/** So many answers are kept for throughput and lag. */
const MEMORY = 300;
/** Evidence from which on a figure counts as wrong, as in the alarms. */
const ALARM = 1000;

const at = (id) => document.getElementById(id);
const number = (value, digits = 3) => value == null ? "–"
  : value.toLocaleString("en", Math.abs(value) >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: digits });
/** A value of the target's, as it is read off. */
const figure = (value) => value == null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 6 });
const percent = (share) => share == null ? "–" : `${(100 * share).toLocaleString("en", { maximumSignificantDigits: share > 0.9 ? 4 : 3 })} %`;
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;
const place = ({ partition, offset, row }) => `${partition}:${offset}${row ? `:${row}` : ""}`;
const moment = (time) => time ? time.replace("T", " ").replace(/(\.\d+)?Z$/, "") : "–";
const age = (seconds) => seconds == null ? "–" : seconds < 120 ? `${number(Math.max(0, seconds), 2)} s`
  : seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${number(seconds / 3600, 2)} h`;

/** An element with these attributes and children; texts become text nodes. */
function make(space, name, attributes, children) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) made.setAttribute(key, value);
  made.append(...children.flat().filter((child) => child != null).map((child) => child instanceof Node ? child : String(child)));
  return made;
}
const html = (name, attributes, ...children) => make(null, name, attributes, children);
const svg = (name, attributes, ...children) => make("http://www.w3.org/2000/svg", name, attributes, children);
const show = (id, ...children) => at(id).replaceChildren(...children.filter((child) => child != null));
/** Shows what `build` makes of this, but only where it is other than before: a selection or a reader's place within is kept. */
const built = {};
function showNew(id, data, build) {
  const key = JSON.stringify(data);
  if (built[id] === key) return;
  built[id] = key;
  show(id, ...build(data));
}
/** A chart, and what it shows in words. */
function picture(id, text, ...drawing) {
  show(id, ...drawing);
  at(id).setAttribute("aria-label", text);
  say(`${id}-text`, text);
}
const say = (id, text) => { if (at(id).textContent !== text) at(id).textContent = text; };

/** Round places for about so many ticks from low to high. */
function ticks(low, high, most = 5) {
  const rough = (high - low) / most || 1;
  const unit = 10 ** Math.floor(Math.log10(rough));
  const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= rough);
  const first = Math.ceil(low / step);
  const all = [];
  // By count: where values are so large that a step does not change them, it would never end.
  for (let nth = 0; nth <= most + 1 && (first + nth) * step <= high + step / 1e6; nth += 1) all.push((first + nth) * step);
  const compact = { notation: "compact", maximumSignificantDigits: 4 };
  const plain = { maximumFractionDigits: Math.min(Math.max(0, -Math.floor(Math.log10(step))), 12) };
  const style = Math.max(Math.abs(low), Math.abs(high)) >= 1e5 ? compact : plain;
  return all.map((tick) => [tick, (tick || 0).toLocaleString("en", style)]);
}

/** Places on a drawing of this width and height, for values from low to high; with a margin for the labels of `marks`. */
class Plane {
  constructor(width, height, low, high, marks = ticks(low, high)) {
    const within = marks.filter(([value]) => value >= low && value <= high);
    const longest = Math.max(3, ...within.map(([, label]) => label.length));
    Object.assign(this, { width, height, low, high, marks: within, left: 10 + 7.2 * longest, bottom: height - 22 });
  }
  y(value) {
    const share = (value - this.low) / (this.high - this.low || 1);
    return this.bottom - Math.min(Math.max(share, -0.02), 1.02) * (this.bottom - 8);
  }
  grid() {
    return this.marks.map(([value, label]) => [
      svg("line", { class: "grid", x1: this.left, x2: this.width, y1: this.y(value), y2: this.y(value) }),
      svg("text", { x: this.left - 6, y: this.y(value) + 4, "text-anchor": "end" }, label),
    ]);
  }
  drawing(...children) {
    return svg("svg", { viewBox: `0 0 ${this.width} ${this.height}`, "aria-hidden": "true" }, ...children.flat(Infinity));
  }
}

/** Charts are drawn as wide as they are shown, so that labels keep their size on a phone. */
const widthOf = (id) => Math.max(280, Math.round(at(id).clientWidth));

const memory = [];
let last = { status: null, recent: null };
let field = 0;
let cursor = null;
/** What the fan shows; it stands still while an event of it is chosen. */
let seen = null;
let drawn = { events: [], order: [], said: () => null, left: 0 };
let isPaused = false;

// ---- At a glance

/** Sets a card: how it stands ("good", "watch" or "bad"), in a sentence, and its numbers. */
function card(id, kind, sentence, rows) {
  const mark = { good: "✓", watch: "!", bad: "✗" }[kind] ?? "…";
  at(id).className = kind ?? "";
  at(id).querySelector(".state").textContent = `${mark} ${sentence}`;
  at(id).querySelector("dl").replaceChildren(...rows.flatMap(([name, value]) => [html("dt", {}, name), html("dd", {}, value)]));
}

function speeds() {
  const now = memory.at(-1);
  const before = memory[Math.max(0, memory.length - 11)];
  const seconds = (now.at_ms - before.at_ms) / 1000;
  if (seconds <= 0) return { scored: null, lag: null };
  return { scored: Math.max(0, now.scores - before.scores) / seconds, lag: (now.lag - before.lag) / seconds };
}

function streamCard(status) {
  const now = memory.at(-1);
  const { scored, lag } = speeds();
  const wait = lag < 0 ? now.lag / -lag : null;
  const [kind, sentence] = (() => {
    if (!status.alive) return ["bad", `stuck: no sign of life for ${age(status.heartbeat_age_seconds)}`];
    if (status.role === "restoring" && status.restoring) {
      return ["watch", `restoring: ${number(status.restoring.records)} of at most ${number(status.restoring.of)} records read again`];
    }
    if (status.role === "standby") return ["good", "standing by: another process leads and has the numbers"];
    if (status.role !== "leading") return ["watch", status.role];
    if (scored == null) return [null, "asking …"];
    if (scored === 0 && now.lag > 0 && status.uptime_seconds > 15) return ["bad", "stands still: records wait and none is scored"];
    if (lag > 0 && now.lag > 10 * (scored || 1)) return ["bad", "falling behind: more comes in than is scored"];
    if (now.lag > 10 * (scored || 1)) return ["watch", `catching up${wait ? `, done in ${age(wait)}` : ""}`];
    return ["good", scored > 0 ? "keeping up" : "nothing to do: no event comes in"];
  })();
  card("stream", kind, sentence, [
    ["events/s", number(scored)],
    ["lag", plural(now.lag, "record")],
    ["scored", number(status.scores)],
    ["waiting for a target", number(status.waiting_targets)],
    ["rejected", number(status.rejected)],
    ["state saved", status.state_age_seconds == null ? "–" : `${age(status.state_age_seconds)} ago`],
  ]);
}

function modelCard(status, recent) {
  const seen = recent?.calibration;
  const gain = seen?.log_score_nats != null && seen.baseline_log_score_nats != null ? seen.log_score_nats - seen.baseline_log_score_nats : null;
  const [kind, sentence] = (() => {
    if (!recent) return [null, "not scoring here"];
    if (status.miscalibrated.length) return ["bad", `not what it says: ${status.miscalibrated.join(", ")}`];
    if (status.updates === 0) return ["watch", "warming up: it has not learned yet"];
    if (gain != null && gain < -0.05) return ["bad", "worse than a baseline that knows no features"];
    if (gain != null && gain <= 0) return ["watch", "no better than a baseline that knows no features"];
    if (!seen.targets) return ["watch", "no target has come yet"];
    return ["good", gain == null ? "no figure is known to be wrong" : `better than without features by ${number(gain, 2)} nats`];
  })();
  card("model", kind, sentence, [
    ["log score", seen?.log_score_nats == null ? "–" : `${number(seen.log_score_nats, 4)} nats`],
    ["baseline", seen?.baseline_log_score_nats == null ? "–" : `${number(seen.baseline_log_score_nats, 4)} nats`],
    ["SGD steps", number(status.updates)],
    ["epoch", number(status.epoch)],
    ["learned from", number(status.learned)],
    ["no target came", number(status.expired)],
  ]);
}

/** What an index says of the upper tail. */
function tail(index) {
  if (index == null) return "–";
  const words = index < 0.05 ? "light" : index < 0.25 ? "moderate" : index < 0.5 ? "heavy" : index < 1 ? "no variance" : "no mean";
  return `${number(index, 2)}, ${words}`;
}

function worldCard(status, recent) {
  const changes = Object.entries(status.drift);
  const found = changes.filter(([, change]) => change.detections > 0);
  const index = recent?.tail_index[1];
  const newest = found.map(([, change]) => change.last).filter(Boolean).sort().at(-1);
  const event = recent?.stream_time;
  const isNew = newest && event && Date.parse(event) - Date.parse(newest) < 24 * 3600e3;
  const [kind, sentence] = !recent ? [null, "not scoring here"]
    : !recent.calibration.targets || status.updates === 0 ? [null, "too early to tell"]
    : isNew ? ["watch", "has changed within the last day of the stream"]
    : index >= 1 ? ["watch", "the tail is so heavy that it has no mean"]
    : ["good", "as it was"];
  card("world", kind, sentence, [
    ...changes.map(([signal, change]) => [`changes of ${signal === "pit" ? "PIT" : "log score"}`, number(change.detections)]),
    ["last change", moment(newest)],
    ["upper tail index", tail(index)],
    ["lower tail index", tail(recent?.tail_index[0])],
    ["event time", moment(event)],
  ]);
}

// ---- The fan

/** Values squeezed where a few of them are hundreds of times as far out as most. */
function squeeze(values) {
  const sorted = values.filter((value) => value != null).map(Math.abs).sort((a, b) => a - b);
  const typical = sorted[Math.floor(sorted.length / 2)] || 1;
  const isWide = sorted.at(-1) > 100 * typical;
  if (!isWide) return { to: (v) => v };
  const to = (v) => Math.asinh(v / typical);
  // Marks at powers of ten, from about what is typical on.
  const powers = [0, 1, 2, 3, 4, 5, 6].map((n) => 10 ** (Math.round(Math.log10(typical)) + n));
  const marks = [0, ...powers, ...powers.map((power) => -power)].map((v) => [to(v), v.toLocaleString("en", { notation: "compact" })]);
  return { to, marks };
}

function fan(recent) {
  // On a phone fewer, that each of them can be seen.
  const most = Math.floor(widthOf("fan") / 9);
  const known = recent.judged.slice(-Math.ceil(0.8 * most));
  const unknown = recent.scored.slice(-Math.max(1, most - known.length));
  const events = [...known, ...unknown];
  const order = recent.levels.map((level, nth) => ({ level, nth })).sort((a, b) => a.level - b.level);
  const said = (event, { nth }) => event.quantiles[field]?.[nth];
  if (!events.length || !order.length) {
    show("fan");
    say("fan-text", order.length ? "No event has been scored yet." : "There are no quantiles to show: score.quantiles is empty.");
    show("fan-key");
    return { events, order, said, left: 0 };
  }
  const values = events.flatMap((event) => [event.target[field], ...order.map((level) => said(event, level))]);
  const { to, marks } = squeeze(values);
  const reach = values.filter((value) => value != null).map(to);
  const plane = new Plane(widthOf("fan"), 300, Math.min(...reach), Math.max(...reach), marks);
  const step = (plane.width - plane.left) / events.length;
  const x = (nth) => plane.left + (nth + 0.5) * step;
  const y = (value) => plane.y(to(value));
  const middle = order.reduce((best, level) => Math.abs(level.level - 0.5) < Math.abs(best.level - 0.5) ? level : best);
  // Each event by itself: nothing is said of what would lie between two of them.
  const side = 0.44 * step;
  const bands = order.slice(1).map((level, nth) => svg("path", { class: "band", "fill-opacity": (0.5 / (nth + 1.2)).toFixed(2),
    d: events.map((event, of) => {
      const [low, high] = [said(event, order[nth]), said(event, level)];
      return low == null || high == null ? "" : `M${x(of) - side} ${y(low)}h${2 * side}V${y(high)}h${-2 * side}z`;
    }).join("") }));
  const medians = svg("path", { class: "median",
    d: events.map((event, of) => said(event, middle) == null ? "" : `M${x(of) - side} ${y(said(event, middle))}h${2 * side}`).join("") });
  const lowest = order[0], highest = order.at(-1);
  const came = events.map((event, nth) => {
    const target = event.target[field];
    if (target == null) return null;
    const isBeyond = said(event, highest) != null && target > said(event, highest);
    return isBeyond ? svg("path", { class: "beyond", d: `M${x(nth)} ${y(target) - 6}l5 9h-10z` })
      : svg("circle", { class: "came", cx: x(nth), cy: y(target), r: 2.5 });
  });
  const now = plane.left + known.length * step;
  show("fan", plane.drawing(
    plane.grid(),
    bands,
    medians,
    came,
    unknown.length && known.length ? [svg("line", { class: "now", x1: now, x2: now, y1: 4, y2: plane.bottom }),
      svg("text", { x: now - 6, y: plane.height - 6, "text-anchor": "end" }, "target known"),
      plane.width - now > 70 ? svg("text", { x: now + 6, y: plane.height - 6 }, "not yet") : null] : [],
    cursor != null && events[cursor] ? svg("line", { class: "cursor", x1: x(cursor), x2: x(cursor), y1: 4, y2: plane.bottom }) : [],
  ));
  const sign = (child) => svg("svg", { viewBox: "0 0 22 14", "aria-hidden": "true" }, child);
  show("fan-key",
    html("span", {}, sign(svg("polyline", { class: "median", points: "0,7 22,7" })), `${percent(middle.level)} quantile`),
    order.length > 1 ? html("span", {}, sign(svg("rect", { class: "band", width: 22, height: 14, "fill-opacity": 0.3 })), `from ${percent(lowest.level)} to ${percent(highest.level)}`) : null,
    html("span", {}, sign(svg("circle", { class: "came", cx: 11, cy: 7, r: 3 })), "what came"),
    html("span", {}, sign(svg("path", { class: "beyond", d: "M11 2l5 9h-10z" })), `above the ${percent(highest.level)} quantile`));
  const beyond = known.filter((event) => said(event, highest) != null && event.target[field] > said(event, highest)).length;
  say("fan-text", `${plural(known.length, "event")} whose ${recent.targets[field]} is known, the latest on the right${unknown.length ? `, and the last ${number(unknown.length)} whose is not` : ""}. `
    + `${number(beyond)} of ${number(known.length)} came above the ${percent(highest.level)} quantile. Arrow keys go from event to event, and hold the picture; Escape lets it go on.`);
  return { events, order, said, left: plane.left };
}

function readout({ events, order, said }) {
  const event = cursor == null ? null : events[cursor];
  const text = (() => {
    if (!event) return "";
    const figures = order.map((level) => `${percent(level.level)}: ${figure(said(event, level))}`).join(", ");
    const target = event.target[field];
    return `${place(event)}, ${moment(event.time)}. Quantiles ${figures}. ${target == null ? "Its target is not known." : `What came: ${figure(target)}.`}`;
  })();
  say("readout", text);
  // To a screen reader the chart is a slider along its events.
  for (const [name, value] of [["valuemin", 0], ["valuemax", Math.max(0, events.length - 1)], ["valuenow", cursor ?? Math.max(0, events.length - 1)], ["valuetext", text || "no event chosen"]]) {
    at("fan").setAttribute(`aria-${name}`, value);
  }
}

function eventTable({ events, order, said }) {
  if (!at("events").closest("details").open) return;
  if (at("events").parentElement.contains(document.activeElement) && at("events").childElementCount) return; // somebody reads it
  const head = ["partition:offset", "event time", ...order.map((level) => percent(level.level)), "what came"];
  show("events",
    html("caption", { class: "text" }, "Quantiles and targets, the latest first"),
    html("thead", {}, html("tr", {}, head.map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, [...events].reverse().map((event) => html("tr", {},
      html("td", {}, place(event)), html("td", {}, moment(event.time)),
      order.map((level) => html("td", {}, figure(said(event, level)))), html("td", {}, figure(event.target[field]))))));
}

// ---- Calibration

function pit({ pit: counts, targets }) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  const even = all / counts.length;
  const spread = 2 * Math.sqrt(even * (1 - 1 / counts.length));
  if (!all) return picture("pit", "No target has come yet.");
  const plane = new Plane(widthOf("pit"), 190, 0, Math.max(...counts, even + spread) * 1.05);
  const width = (plane.width - plane.left) / counts.length;
  const most = counts.indexOf(Math.max(...counts));
  const text = `The last ${plural(targets, "target")} by the probability that was given to a lower one. Right forecasts make it even: ${number(even)} in each of ${counts.length} parts, `
    + `give or take ${number(spread, 2)}. Most, ${number(counts[most])}, lie from ${number(most / counts.length)} to ${number((most + 1) / counts.length)}.`;
  picture("pit", text, plane.drawing(
    plane.grid(),
    counts.map((count, nth) => svg("rect", { class: "bar", x: plane.left + nth * width + 1, width: Math.max(1, width - 2), y: plane.y(count), height: plane.bottom - plane.y(count) })),
    svg("rect", { class: "chance", x: plane.left, width: plane.width - plane.left, y: plane.y(even + spread), height: plane.y(Math.max(0, even - spread)) - plane.y(even + spread) }),
    svg("line", { class: "even", x1: plane.left, x2: plane.width, y1: plane.y(even), y2: plane.y(even) }),
    [0, 0.5, 1].map((share) => svg("text", { x: plane.left + share * (plane.width - plane.left), y: plane.height - 6, "text-anchor": ["start", "middle", "end"][2 * share] }, share)),
  ));
}

function coverage({ quantiles, exceed, targets }) {
  const row = (name, expected, observed, evidence) => {
    const isWrong = evidence >= ALARM || evidence === null; // infinity is written as null
    return html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, percent(expected)), html("td", {}, percent(observed)),
      html("td", { class: isWrong ? "bad" : "" }, evidence === null ? "∞" : number(evidence), isWrong ? " ✗" : ""));
  };
  showNew("coverage", [quantiles, exceed], () => [
    html("thead", {}, html("tr", {}, ["figure", "said", "came", "evidence"].map((name) => html("th", { scope: "col" }, name)))),
    html("tbody", {}, quantiles.map(({ label, level, share, e_value }) => row(`below q${label}`, level, share, e_value)),
      exceed.map(({ label, expected, observed, e_value }) => row(`above ${label}`, expected, observed, e_value)))]);
  say("coverage-text", targets ? `Over the last ${plural(targets, "target")}. Evidence is that against a figure since the model began: ${number(ALARM)} says that it is wrong.` : "No target has come yet.");
}

// ---- Throughput, lag, rejects

function rate() {
  const steps = memory.slice(1).map((now, nth) => {
    const before = memory[nth];
    return { scored: Math.max(0, now.scores - before.scores) / ((now.at_ms - before.at_ms) / 1000), lag: now.lag, at_ms: now.at_ms };
  });
  if (steps.length < 2) return picture("rate", "Asking …");
  const most = Math.max(1, ...steps.map((step) => step.scored));
  const mostLag = Math.max(1, ...steps.map((step) => step.lag));
  const plane = new Plane(widthOf("rate"), 190, 0, most * 1.05);
  const [begin, end] = [steps[0].at_ms, steps.at(-1).at_ms];
  const x = (nth) => plane.left + (plane.width - plane.left) * (steps[nth].at_ms - begin) / (end - begin);
  const text = `Solid: events scored a second, now ${number(steps.at(-1).scored)}, at most ${number(most)}. Dashed: lag, now ${plural(steps.at(-1).lag, "record")}, at most ${number(mostLag)} since this page was opened.`;
  picture("rate", text, plane.drawing(
    plane.grid(),
    svg("polyline", { class: "speed", points: steps.map((step, nth) => [x(nth), plane.y(step.scored)]).join(" ") }),
    svg("polyline", { class: "lag", points: steps.map((step, nth) => [x(nth), plane.y(step.lag / mostLag * most)]).join(" ") }),
    svg("text", { x: plane.left, y: plane.height - 6 }, `${age((end - begin) / 1000)} ago`),
    svg("text", { x: plane.width, y: plane.height - 6, "text-anchor": "end" }, "now"),
  ));
}

function rejects(list, count) {
  say("rejects-text", count ? `${plural(count, "record")} since the process began${list.length ? "; the last ones:" : "."}` : "None since the process began.");
  showNew("rejects", list, () => [...list].reverse().map((reject) => html("li", {},
    html("b", {}, reject.reason.replaceAll("_", " ")), `, ${place(reject)}`, html("small", {}, `${moment(reject.time)}: ${reject.detail}`))));
}

// ---- All of it

function draw() {
  const { status, recent } = last;
  if (!status) return;
  const name = recent?.group ?? "tailwater";
  say("title", name);
  document.title = `${status.role}: ${name}`;
  say("about", `${status.role}, tailwater ${status.version}, up ${age(status.uptime_seconds)}${status.assignment.length ? `, ${plural(status.assignment.length, "partition")}` : ""}`);
  streamCard(status);
  modelCard(status, recent);
  worldCard(status, recent);
  rate();
  rejects(recent?.rejects ?? [], status.rejected);
  const targets = recent?.targets ?? [];
  at("fields").hidden = targets.length < 2;
  field = Math.min(field, Math.max(0, targets.length - 1));
  showNew("field", targets, () => targets.map((target, nth) => html("option", { value: nth }, target)));
  if (cursor == null || !recent) seen = recent;
  drawFan();
  eventTable(drawn);
  const calibration = recent?.calibration ?? { pit: [0], targets: 0, quantiles: [], exceed: [] };
  pit(calibration);
  coverage(calibration);
}

function drawFan() {
  drawn = fan(seen ?? { judged: [], scored: [], levels: [0.5], targets: [] });
  readout(drawn);
}

/** Sets what is wrong now, as an alert; nothing where nothing is. */
function warn(text) {
  say("alert", text ?? "");
  at("alert").hidden = !text;
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5 * EVERY_MS) });
  if (!answer.ok) throw new Error(`${path} answers ${answer.status}`);
  return { said: await answer.json(), at: Date.parse(answer.headers.get("date")) };
}

let answered = null;
async function look() {
  let answers;
  try {
    answers = await Promise.all([ask("status"), ask("recent")]);
  } catch (error) {
    return warn(`No answer${answered ? ` since ${answered.toLocaleTimeString()}` : ""}: the process may be gone, or the way to it (${error.message}).`);
  }
  const [{ said: status, at: server_ms }, { said: recent }] = answers;
  answered = new Date();
  last = { status, recent };
  const lag = Object.values(status.lag_records).reduce((sum, records) => sum + records, 0);
  memory.push({ at_ms: performance.now(), scores: status.scores, lag });
  if (memory.length > MEMORY) memory.shift();
  const error = status.last_error;
  const isFresh = error && server_ms - Date.parse(error.time) < 60e3;
  warn(isFresh ? `${moment(error.time)}: ${error.message}` : null);
  draw();
}

async function keepLooking() {
  // Nobody sees a page in the background: it asks for nothing.
  if (!isPaused && !document.hidden) await look();
  setTimeout(keepLooking, EVERY_MS);
}

at("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  say("pause", isPaused ? "Go on" : "Pause");
});
at("field").addEventListener("change", () => {
  field = Number(at("field").value);
  draw();
});
at("fan").addEventListener("keydown", (press) => {
  const count = drawn.events.length;
  const to = { ArrowLeft: (cursor ?? count) - 1, ArrowRight: (cursor ?? -1) + 1, Home: 0, End: count - 1 }[press.key];
  if (press.key === "Escape" && cursor != null) cursor = null;
  else if (to == null || !count) return;
  else cursor = Math.min(Math.max(to, 0), count - 1);
  press.preventDefault();
  drawFan();
});
at("fan").addEventListener("pointermove", (point) => {
  const count = drawn.events.length;
  const box = at("fan").getBoundingClientRect();
  const share = (point.clientX - box.left - drawn.left) / (box.width - drawn.left);
  cursor = share < 0 || !count ? null : Math.min(Math.floor(share * count), count - 1);
  drawFan();
});
/** Nobody is at the chart any more: it goes on. */
function leave() {
  if (document.activeElement === at("fan")) return;
  cursor = null;
  draw();
}
at("fan").addEventListener("pointerleave", leave);
at("fan").addEventListener("blur", () => setTimeout(leave));
at("events").closest("details").addEventListener("toggle", draw);
addEventListener("resize", draw);
keepLooking();
