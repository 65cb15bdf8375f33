"use strict";
// numbers.js: a table for each step, and what a number is made of.
const $ = (id) => document.getElementById(id);
const $$ = (selector) => document.querySelectorAll(selector);
const WORD = { i: "token", g: "group", j: "codeword", t: "coordinate" };
/** The element that shows a number, by its name. */
const cells = new Map();

/** A number as it is shown: three digits after the point, or its size if that would be 0. */
const format = (x) => String(Number.isInteger(x) ? x : Math.abs(x) < 5e-4 ? x.toExponential(0) : x.toFixed(3))
  .replaceAll("-", "−");

/** The panels of all steps, anew. */
function buildNumbers(f) {
  for (const side of ["given", "forward", "backward"]) {
    const steps = f.steps.filter((step) => step.side === side && (step.axes || step.terms));
    $(side).innerHTML = steps.map((step) => panel(step, f.setting.form, table(step))).join("");
  }
  for (const element of $$("[data-cell]")) cells.set(element.dataset.cell, element);
}

function panel({ name, axes, side, rule, formula }, form, numbers) {
  const note = $("notes").content.querySelector(`[data-of="${form} ${name}"], [data-of="${name}"]`).innerHTML;
  const written = `${axes && `[${[...axes]}]`} = ${formula}`.replace(/_([a-z](,[a-z])*)/g, "<sub>$1</sub>");
  const badge = rule?.held ? `<span class="badge">${rule.name}: held</span>` : "";
  return `<details class="${side}" data-of="${name}">
    <summary><b>${name}</b>${formula ? written : ` ${note}`} ${badge}</summary>
    ${formula ? `<p>${note}</p>` : ""}<div class="wide">${numbers}</div></details>`;
}

/** A line for each token or codeword; columns for the groups and what is left. */
function table(step) {
  const line = step.axes.length > 1 ? [...step.axes].find((axis) => axis !== "g") : "";
  const columns = step.axes.replace(line, ""), cells = readings(step).map(cellOf);
  const th = (scope, axis, n, wide = 1) => `<th scope="${scope}" colspan="${wide}">${WORD[axis]} ${n}</th>`;
  const tr = (start, cells) => `<tr>${line && start}${cells.join("")}</tr>`;
  const heads = range(columns.length).map((depth) => tr("<td></td>", all(columns.slice(0, depth + 1),
    (...index) => th("col", columns[depth], index[depth], indices(columns.slice(depth + 1)).length))));
  const index = (row, column) => [...step.axes].map((a) => (a === line ? row : column[columns.indexOf(a)]));
  const td = (row, column) => `<td>${cells[place(step.axes, index(row, column))]}</td>`;
  const rows = all(line, (row) => tr(th("row", line, row), all(columns, (...column) => td(row, column))));
  return `<table><caption>${step.name}</caption>${[...heads, ...rows].join("")}</table>`;
}

function cellOf({ name, step }, at) {
  const data = `data-cell="${name}" data-of="${step.name}" data-tensor="${step.tensor}" data-at="${at}"`;
  return step.terms ? `<button type="button" tabindex="${at ? -1 : 0}" ${data}></button>`
    : `<input type="number" step="0.05" aria-label="${name}" ${data}>`;
}

function showNumbers(f) {
  for (const { name, value } of f.steps.flatMap(readings)) {
    const cell = cells.get(name), text = format(value);
    if (cell.tagName !== "INPUT") Object.assign(cell, { textContent: text, ariaLabel: `${name} = ${text}` });
    else if (cell !== document.activeElement) cell.value = Number(value.toFixed(4));
  }
}

/** A product, in names or in numbers as `show` writes what it reads. */
function written(factors, show) {
  const text = factors.filter((x) => x !== 1).map((x) => (x.write ? x.write(show) : format(x))).join(" · ");
  const tidy = text.replaceAll("· 1/", "/ ").replace(/^−1 · /, "−");
  return product(factors) === 0 ? `<i>${tidy}</i>` : tidy;
}

/** Says what a number is made of, and lights up where it comes from. */
function explain(f, element) {
  const step = f.named(element.dataset.of), asked = readings(step)[element.dataset.at];
  const terms = step.terms?.(...asked.index) ?? [], { name, between } = step.rule ?? SUM;
  const whole = (show) => {
    const inside = terms.map((factors) => written(factors, show)).join(between).replaceAll("+ −", "− ");
    return name ? `${name}(${inside})` : inside;
  };
  const link = (x) => `<button type="button" data-go="${x.name}">${x.name}</button>`;
  const made = step.terms ? [whole(link), whole((x) => format(x.value))] : ["given"];
  const lines = [...made, `<b>${format(asked.value)}</b>`].map((line) => `<span>= ${line}</span>`);
  $("explained").innerHTML = `<b>${asked.name}</b> ${lines.join(" ")}`;
  const sources = terms.flat().flatMap((x) => x.sources ?? []).map((x) => x.name);
  cells.forEach((cell, name) => cell.classList.toggle("lit", sources.includes(name)));
  cells.forEach((cell) => cell.classList.toggle("asked", cell === element));
}
