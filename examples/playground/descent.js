// descent.js: a step of descent, and what it does to codewords.

/** Every number moves against its gradient. */
function descend(setting, rate) {
  const found = gradients(setting);
  const less = (name) => setting[name].map((x, at) => x - rate * (found[name][at] ?? 0));
  return { ...setting, q: less("q"), keys: less("keys"), values: less("values") };
}

/** Codewords that no token chose, as "g,j"; if the groups share one codebook g is 0. */
function unused({ code, setting }) {
  const book = (g) => (setting.shared ? 0 : g), used = all("ig", (i, g) => `${book(g)},${code(i, g).value}`);
  return all("gj", (g, j) => `${g},${j}`).filter((name) => !used.includes(name) && name[0] <= book(1));
}
