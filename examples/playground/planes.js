// planes.js: the plane of each group, with points to drag.
const KINDS = { q: "query", keys: "key", values: "value", target: "target" };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

/** SX has a plane of what is compared and one of what is said; in VQ they are the same. */
function buildPlanes(f) {
  const sx = f.setting.form === "sx";
  const planes = sx ? [["q", "keys"], ["target", "values"]] : [["q", "target", "keys"]];
  const word = (tensor) => (tensor === "keys" && !sx ? "codeword" : KINDS[tensor]);
  const plane = (shown, g) => `<figure><figcaption>Group ${g}: ${shown.map(word).join(", ")}</figcaption>
    <svg viewBox="-2.2 -2.2 4.4 4.4" data-group="${g}" data-tokens="${shown[0]}">
    ${range(SIZE.j).map((j) => `<path class="cell book${j}"/>`).join("")}
    <use href="#axes"/><path class="choices"/>
    ${shown.map((tensor) => pointsOf(f, tensor, word(tensor), g)).join("")}</svg></figure>`;
  $("planes").innerHTML = planes.flatMap((shown) => range(SIZE.g).map((g) => plane(shown, g))).join("");
}

function pointsOf(f, tensor, word, g) {
  const { axes } = f.named(tensor), count = SIZE[axes === "igt" ? "i" : "j"];
  const at = (n) => place(axes, { igt: [n, g, 0], gjt: [g, n, 0], jt: [n, 0] }[axes]);
  return range(count).map((n) => `<g class="point ${KINDS[tensor]} book${n}" tabindex="0" role="slider"
    aria-roledescription="point" aria-label="${word} ${n}, group ${g}" aria-valuemin="-2" aria-valuemax="2"
    data-n="${n}" data-tensor="${tensor}" data-at="${at(n)}">
    <use href="#${KINDS[tensor]}"/><text>${word[0]}${n}</text></g>`).join("");
}

function showPlanes(f) {
  const off = unused(f), at = (read, ...gn) => `${read(...gn, 0).value} ${-read(...gn, 1).value}`;
  for (const svg of $("planes").querySelectorAll("svg")) {
    const g = +svg.dataset.group, compared = svg.dataset.tokens === "q";
    const [from, to] = compared ? [f.q, f.key] : [f.target, f.said];
    const lines = range(SIZE.i).map((i) => `M${at(from, i, g)}L${at(to, g, f.code(i, g).value)}`);
    svg.querySelector(".choices").setAttribute("d", lines.join(""));
    const areas = compared ? whereChosen(f, g) : [];
    areas.forEach((area, j) => svg.querySelector(`.cell.book${j}`).setAttribute("d", area));
    for (const point of svg.querySelectorAll(".point")) {
      const { tensor, at, n } = point.dataset, [x, y] = f.setting[tensor].slice(at, +at + 2);
      const hollow = point.matches(".key, .value") && off.includes(`${f.setting.shared ? 0 : g},${n}`);
      point.setAttribute("transform", `translate(${x} ${-y})`);
      point.setAttribute("aria-valuenow", x.toFixed(2));
      point.setAttribute("aria-valuetext", `${x.toFixed(2)}, ${y.toFixed(2)}${hollow ? ", unused" : ""}`);
      point.classList.toggle("unused", hollow);
    }
  }
}

/** Where in the plane a query would choose each codeword, with the mean and variance as they are now. */
function whereChosen(f, g) {
  const paths = range(SIZE.j).map(() => "");
  const score = (x, y, j) => {
    const [a, b] = [f.key(g, j, 0).value, f.key(g, j, 1).value];
    const r = f.setting.form === "sx" ? x * a + y * b : -((x - a) ** 2) - (y - b) ** 2;
    return f.setting.norm ? (r - f.mean(j).value) / f.sd(j).value : r;
  };
  for (const [x, y] of range(44 * 44).map((k) => [k % 44, Math.floor(k / 44)].map((n) => n / 10 - 2.2))) {
    const best = ARGMAX.of(range(SIZE.j).map((j) => score(x + 0.05, -y - 0.05, j)));
    paths[best] += `M${x.toFixed(1)} ${y.toFixed(1)}h.1v.1h-.1z`;
  }
  return paths;
}

/** Pointers and arrow keys move points: `put` gets the tensor, the place and both coordinates. */
function movePoints(planes, put) {
  const move = ({ dataset: { tensor, at } }, x, y) => put(tensor, +at, x, y);
  planes.onpointerdown = ({ target, pointerId }) => target.closest(".point")?.setPointerCapture(pointerId);
  planes.onpointermove = ({ target, pointerId, clientX, clientY }) => {
    if (!target.hasPointerCapture(pointerId)) return;
    const toPlane = target.closest("svg").getScreenCTM().inverse();
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(toPlane);
    move(target, x, -y);
  };
  planes.onkeydown = (event) => {
    const by = ARROWS[event.key], point = event.target;
    if (!by || !point.matches(".point")) return;
    event.preventDefault();
    const { e: x, f: y } = point.transform.baseVal[0].matrix;
    move(point, x + 0.05 * by[0], -y + 0.05 * by[1]);
  };
}
