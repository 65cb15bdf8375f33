// forward.js: from queries and codewords to the loss.
const MORE_VAR = 1e-3, MORE_P = 1e-10, TOKENS_GROUPS = SIZE.i * SIZE.g, ELEMENTS = TOKENS_GROUPS * SIZE.t;

/** All steps forward. With a base, the held function: choices and stops are those of the base. */
function forward(setting, base = null) {
  const f = given(setting, new Trace(base));
  scores(f);
  if (setting.norm) normalised(f);
  else f.rh = f.step("rh", "igj", "r[i,g,j]", (...igj) => [[f.r(...igj)]]);
  f.code = f.step("code", "ig", "argmax_j rh[i,g,j]", (i, g) => all("j", (j) => [f.rh(i, g, j)]), ARGMAX);
  (setting.form === "sx" ? softmaxForm : centroidForm)(f);
  return f;
}

/** What is not computed. With one codebook for both groups the codewords have no axis g. */
function given(setting, f) {
  const { shared } = setting, sx = setting.form === "sx", axes = shared ? "jt" : "gjt";
  const list = (tensor, axes) => [setting[tensor]].flat().slice(0, indices(axes).length);
  const add = (tensor, name, axes) =>
    f.add({ tensor, name, axes, values: list(tensor, axes), side: "given" });
  const book = (tensor, name) => {
    const read = add(tensor, name, axes);
    return Object.assign((g, ...jt) => (shared ? read(...jt) : read(g, ...jt)), read);
  };
  const q = add("q", "q", "igt"), key = book("keys", sx ? "Cᵏ" : "C"), said = sx ? book("values", "Cᵛ") : key;
  const target = add("target", "target", "igt"), tau = add("tau", "tau", ""), beta = add("beta", "beta", "");
  const gjt = shared ? "[j,t]" : "[g,j,t]", chosen = shared ? "C[code,t]" : "C[g,code,t]";
  return Object.assign(f, { setting, axes, gjt, chosen, q, key, said, target, tau, beta });
}

function scores(f) {
  const { q, key, gjt } = f;
  const fit = (i, g, j) => all("t", (t) => [q(i, g, t), key(g, j, t)]);
  const distance = (i, g, j) => all("t", (t) => [-1, square(q(i, g, t), key(g, j, t))]);
  f.r = f.setting.form === "sx" ? f.step("r", "igj", `Σ_t q[i,g,t] · Cᵏ${gjt}`, fit)
    : f.step("r", "igj", `− Σ_t (q[i,g,t] − C${gjt})²`, distance);
}

/** One mean and one variance for each codeword index, over all tokens and groups. */
function normalised(f) {
  const { r } = f;
  f.mean = f.step("mean", "j", "mean over i,g of r[i,g,j]", (j) => all("ig", (i, g) => [r(i, g, j)]), MEAN);
  f.var = f.step("var", "j", "mean over i,g of (r[i,g,j] − mean[j])²",
    (j) => all("ig", (i, g) => [square(r(i, g, j), f.mean(j))]), MEAN);
  f.sd = f.step("sd", "j", "sqrt(var[j] + 0.001)", (j) => [[f.var(j)], [MORE_VAR]], SQRT);
  f.rh = f.step("rh", "igj", "(r[i,g,j] − mean[j]) / sd[j]",
    (i, g, j) => [[minus(r(i, g, j), f.mean(j)), over(f.sd(j))]]);
}

/** SX: the value is that of the choice, the gradient that of the softmax. */
function softmaxForm(f) {
  const { rh, tau, beta } = f;
  const top = (i, g) => all("j", (j) => rh(i, g, j)).reduce((a, b) => (b.value > a.value ? b : a));
  f.e = f.step("e", "igj", "exp((rh[i,g,j] − max_j rh[i,g,j]) / tau)",
    (i, g, j) => [[minus(rh(i, g, j), top(i, g)), over(tau())]], EXP);
  f.z = f.step("z", "ig", "Σ_j e[i,g,j]", (i, g) => all("j", (j) => [f.e(i, g, j)]));
  f.p = f.step("p", "igj", "e[i,g,j] / z[i,g]", (i, g, j) => [[f.e(i, g, j), over(f.z(i, g))]]);
  const stopP = f.step("stop(p)", "igj", "p[i,g,j]", (...igj) => [[f.p(...igj)]], STOP);
  f.w = f.step("w", "igj", "p[i,g,j] − stop(p)[i,g,j] + [code[i,g] = j]",
    (i, g, j) => [[f.p(i, g, j)], [-1, stopP(i, g, j)], [is(f.code(i, g), j)]]);
  f.y = f.step("y", "igt", `Σ_j w[i,g,j] · Cᵛ${f.gjt}`,
    (i, g, t) => all("j", (j) => [f.w(i, g, j), f.said(g, j, t)]));
  if (!f.setting.beta) return losses(f, []);
  f.logp = f.step("logp", "igj", "log(p[i,g,j] + 1e-10)", (...igj) => [[f.p(...igj)], [MORE_P]], LOG);
  const R = f.step("R", "", "− beta · mean over i,g of Σ_j w[i,g,j] · logp[i,g,j]",
    () => all("igj", (...igj) => [-1, beta(), ratio(1, TOKENS_GROUPS), f.w(...igj), f.logp(...igj)]));
  losses(f, [R]);
}

/** VQ: the value is the chosen codeword, the gradient goes to the query. */
function centroidForm(f) {
  const { q, beta } = f;
  const choice = (f.choice = (i, g, t) => f.key(g, f.code(i, g).value, t));
  const stopQ = f.step("stop(q)", "igt", "q[i,g,t]", (...igt) => [[q(...igt)]], STOP);
  const stopC = f.step("stop(C)", "igt", f.chosen, (...igt) => [[choice(...igt)]], STOP);
  f.y = f.step("y", "igt", "q[i,g,t] − stop(q)[i,g,t] + stop(C)[i,g,t]",
    (...igt) => [[q(...igt)], [-1, stopQ(...igt)], [stopC(...igt)]]);
  const added = [f.step("R1", "", `mean over i,g,t of (${f.chosen} − stop(q)[i,g,t])²`,
    () => all("igt", (...igt) => [square(choice(...igt), stopQ(...igt))]), MEAN)];
  if (f.setting.beta) added.push(f.step("R2", "", "beta · mean over i,g,t of (stop(C)[i,g,t] − q[i,g,t])²",
    () => all("igt", (...igt) => [beta(), square(stopC(...igt), q(...igt))]), MEAN));
  losses(f, added);
}

/** The task's loss, and with it what a regulariser adds. */
function losses(f, added) {
  f.L = f.step("L", "", "1/2 Σ_i,g,t (y[i,g,t] − target[i,g,t])²",
    () => all("igt", (...igt) => [ratio(1, 2), square(f.y(...igt), f.target(...igt))]));
  f.loss = f.step("loss", "", ["L", ...added.map((R) => R.step.name)].join(" + "),
    () => [[f.L()], ...added.map((R) => [R()])]);
}
