// page.js: the controls, and what follows when one is moved.
const presets = JSON.parse($("presets").textContent);
let start = null, setting = {}, touched = { tensor: "q", at: 0 };
let f = null, built = "", asked = null, at = 0, drawing = 0, timer = null;

/** Some fields of the setting change, and with them everything on the page. */
function change(fields) {
  setting = { ...setting, ...fields };
  f = backward(forward(setting));
  const steps = f.steps.map((step) => step.axes + step.name + step.formula).join();
  if (built !== (built = steps)) build();
  for (const show of [showControls, showNumbers, showPlanes, showDescent]) show(f);
  if (cells.get(asked)?.isConnected) explain(f, cells.get(asked));
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => showStaircase(f, touched));
}

/** Other steps than before. */
function build() {
  buildNumbers(f);
  buildPlanes(f);
  const options = ["q", "keys"].flatMap((tensor) => readings(f.named(tensor))
    .map(({ name }, at) => `<option value="${tensor} ${at}">${name}</option>`));
  $("coordinate").innerHTML = options.join("");
  if (touched.at >= f.key.step.values.length) touched.at = 0;
  walk(at);
}

function showControls() {
  for (const control of $("settings").elements) {
    const value = setting[control.name];
    control.checked = control.type === "radio" ? control.value === value : value;
    if (control.type === "range") control.value = control.name === "tau" ? Math.log10(value) : value;
  }
  $("settings").elements.tau.disabled = setting.form === "vq";
  $("coordinate").value = `${touched.tensor} ${touched.at}`;
  const lacks = (need) => need && need !== setting.form && !setting[need];
  for (const option of $("mistake").options) option.disabled = option.dataset.needs.split(" ").some(lacks);
  $("mistake").value = setting.mistake;
  $("verdict").textContent = $("lines").innerHTML = "";
}

function showDescent() {
  const { past } = setting, steps = past.length, loss = f.loss().value;
  const off = unused(f).length, many = f.key.step.values.length / SIZE.t;
  $("descent-says").textContent = `Step ${steps}: loss ${format(loss)}, ${off} of ${many} codewords unused.`;
  const line = [...past, { loss, off }], highest = Math.max(...line.map((now) => now.loss), 1e-9);
  const sx = (x) => 10 + (580 * x) / Math.max(50, steps), sy = (y) => 110 - 100 * y;
  $("losses").setAttribute("d", path(line.map((now, k) => [k, now.loss / highest]), sx, sy));
  $("deaths").setAttribute("d", path(line.map((now, k) => [k, now.off / many]), sx, sy));
}

/** Numbers that are moved by hand stay in the plane. */
function put(tensor, at, ...values) {
  if (tensor === "q" || tensor === "keys") touched = { tensor, at };
  const inside = values.map((x) => Math.min(2, Math.max(-2, Math.round(x * 1000) / 1000)));
  change({ [tensor]: setting[tensor].map((x, k) => inside[k - at] ?? x) });
}

/** Shows the steps up to one, which is open. */
function walk(to) {
  const panels = [...$$("#forward details, #backward details")], every = $("every").checked;
  const last = panels.length - 1;
  at = Math.max(0, Math.min(to, last));
  panels.forEach((panel, k) => Object.assign(panel, { hidden: !every && k > at, open: every || k === at }));
  const { dataset: { of }, className } = panels[at];
  $("where").textContent = every ? "all steps" : `step ${at + 1} of ${last + 1}, ${className}: ${of}`;
  [$("back").disabled, $("next").disabled] = [every || at === 0, every || at === last];
}

/** Explains a number. The steps that light up open, and the number stays where it is on the screen. */
function ask(element) {
  if (!element) return;
  asked = element.dataset.cell;
  explain(f, element);
  const top = () => element.getBoundingClientRect().top, before = top();
  for (const panel of $$("details:has(.lit, .asked)")) Object.assign(panel, { open: true, hidden: false });
  for (const lit of $$(".lit")) lit.scrollIntoView({ block: "nearest", inline: "center" });
  scrollBy({ top: top() - before, behavior: "instant" });
  element.focus();
}

function oneStep() {
  const next = descend(setting, 10 ** $("rate").value);
  if (!(forward(next).loss().value < 1e4)) return play(false);
  change({ ...next, past: [...setting.past, { loss: f.loss().value, off: unused(f).length }] });
}

function play(on) {
  clearInterval(timer);
  timer = on ? setInterval(oneStep, 50) : null;
  $("play").textContent = on ? "pause" : "play";
  $("explained").ariaLive = on ? "off" : "polite";
}

$("preset").onchange = ({ target }) => {
  start = presets[target.value];
  change({ ...start.switches, ...start.numbers, past: [] });
};
$("settings").oninput = ({ target: { name, type, value, checked } }) =>
  change({ [name]: { checkbox: checked, radio: value, range: name === "tau" ? 10 ** value : +value }[type] });
movePoints($("planes"), put);
$("back").onclick = () => walk(at - 1);
$("next").onclick = () => walk(at + 1);
$("every").onchange = () => walk(at);
$("walk").onkeydown = ({ key }) => walk(at + (ARROWS[key]?.[0] ?? 0));
$("steps").onclick = ({ target }) => ask(target.closest("[data-cell]"));
$("steps").oninput = ({ target: { value, dataset: to } }) =>
  to.tensor && value && put(to.tensor, +to.at, value);
$("steps").onkeydown = (event) => {
  const td = event.target.closest("td:has(button)"), by = ARROWS[event.key];
  if (!td || !by) return;
  event.preventDefault();
  const row = td.closest("table").rows[td.parentElement.rowIndex - by[1]];
  row?.cells[td.cellIndex + by[0]]?.querySelector("button")?.focus();
};
$("explained").onclick = ({ target }) => ask(cells.get(target.dataset.go));
$("coordinate").onchange = ({ target }) => put(...target.value.split(" ").map((x) => (x in KINDS ? x : +x)));
$("mistake").onchange = ({ target }) => change({ mistake: target.value });
$("check").onclick = () => {
  const lines = check(setting), right = lines.every((line) => line.right), none = setting.mistake === "none";
  const verdict = (line) => (line.right ? "agrees" : `<b>differs, most at ${line.worst}</b>`);
  const shown = (x) => [verdict(x), format(x.gradient), format(x.hard), x.off.toExponential(0)];
  const row = (line) => `<tr><th scope="row">${line.name}</th><td>${shown(line).join("</td><td>")}</td></tr>`;
  $("lines").innerHTML = lines.map(row).join("");
  const { text, dataset } = $("mistake").selectedOptions[0];
  $("verdict").textContent = none ? `The gradients are ${right ? "right" : "wrong"}.`
    : right ? `Nothing to find: here this changes no gradient. ${dataset.hint}` : `Found: ${text}.`;
};
$("rate").oninput = ({ target }) => ($("rate-value").textContent = format(10 ** target.value));
$("once").onclick = oneStep;
$("play").onclick = () => play(!timer);
$("reset").onclick = () => change({ ...start.numbers, past: [] });
$("preset").onchange({ target: $("preset") });
