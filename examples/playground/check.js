// check.js: are the gradients right? Differences of two functions say so.
// The hard function is the task's loss as it is: its choices jump, and its differences are 0. In the
// held one every choice and every stop keeps its value: the gradients are its derivatives.

/** What a step of descent, and a test, needs. */
function gradients(setting) {
  const f = backward(forward(setting)), list = (read) => (read ? read.step.values : []);
  return { loss: f.loss().value, y: list(f.y), code: list(f.code),
    q: list(f.dq), keys: list(f.dkeys), values: list(f.dvalues) };
}

/** The setting with one number moved. */
const moved = (setting, tensor, at, by) =>
  ({ ...setting, [tensor]: setting[tensor].map((x, k) => (k === at ? x + by : x)) });

/** The slope at 0 by central differences, of the width where they settle best. */
function slope(of) {
  const wide = (h) => (8 * (of(h) - of(-h)) - (of(2 * h) - of(-2 * h))) / (12 * h);
  const found = [1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5].map(wide);
  const change = (k) => Math.abs(found[k] - found[k - 1]);
  return found[[1, 2, 3, 4, 5].reduce((best, k) => (change(k) < change(best) ? k : best))];
}

/** A line for each tensor: its largest gradient, and how far differences are from it. */
function check(setting) {
  const base = forward(setting), found = gradients(setting);
  const hard = (name, at, by) => forward(moved(setting, name, at, by)).L().value;
  const held = (name, at, by) => forward(moved(setting, name, at, by), base).loss().value;
  const largest = (list) => Math.max(...list.map(Math.abs));
  const line = (name) => {
    const flat = found[name].map((_, at) => (hard(name, at, 1e-7) - hard(name, at, -1e-7)) / 2e-7);
    const off = found[name].map((x, at) => Math.abs(x - slope((by) => held(name, at, by))));
    const gradient = largest(found[name]), most = largest(off), right = most <= 1e-7 * (1 + gradient);
    const step = base.named(name), worst = readings(step)[off.indexOf(most)]?.name;
    return { name: step.name, gradient, hard: largest(flat), off: most, worst, right };
  };
  return ["q", "keys", "values"].filter((name) => found[name].length).map(line);
}
