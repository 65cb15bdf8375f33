// staircase.js: one coordinate moves, all else stays: what the loss does, and what the gradient says.

/** A line through points [x, y] of a chart, without the pieces that are `broken`. */
function path(line, sx, sy, broken) {
  return line.map(([x, y], k) => `${k && !broken?.(k) ? "L" : "M"}${sx(x)} ${sy(y)}`).join("");
}

function showStaircase(f, { tensor, at }) {
  const x0 = f.setting[tensor][at], loss = f.loss().value, { name } = readings(f.named(tensor))[at];
  const slope = (tensor === "q" ? f.dq : f.dkeys).step.values[at], xs = range(161).map((k) => k / 40 - 2);
  const moving = (base) => xs.map((x) => forward(moved(f.setting, tensor, at, x - x0), base));
  const hard = moving(null), codes = hard.map(({ code }) => String(code.step.values));
  const jump = (k) => codes[k] !== codes[k - 1], jumps = range(160).filter((k) => jump(k + 1)).length;
  const losses = (of) => of.map(({ loss }, k) => [xs[k], loss().value]);
  const hardLine = losses(hard), heldLine = losses(moving(f));
  const ys = [...hardLine, ...heldLine].map(([, y]) => y), low = Math.min(...ys), high = Math.max(...ys);
  const sx = (x) => 300 + x * 145, sy = (y) => 200 - ((y - low) / (high - low || 1)) * 180;
  $("hard").setAttribute("d", path(hardLine, sx, sy, jump));
  $("held").setAttribute("d", path(heldLine, sx, sy));
  $("tangent").setAttribute("d", path([-0.6, 0.6].map((d) => [x0 + d, loss + slope * d]), sx, sy));
  $("base").setAttribute("transform", `translate(${sx(x0)} ${sy(loss)})`);
  $("staircase-says").textContent = `${name} from −2 to 2: loss ${format(low)} to ${format(high)}, jumps:
    ${jumps}. At ${format(x0)} the loss is ${format(loss)} and the gradient ${format(slope)}.`;
}
