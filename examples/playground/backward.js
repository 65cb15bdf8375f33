// backward.js: from the loss back to queries and codewords, each gradient beside its formula.
// dx is how fast the loss rises with x. `wrong` asks whether a mistake is planted (see check.js).
function backward(f) {
  f.side = "backward";
  f.wrong = (mistake) => f.setting.mistake === mistake;
  f.dy = f.step("dy", "igt", "y[i,g,t] − target[i,g,t]",
    (...igt) => [[f.y(...igt)], [-1, f.target(...igt)]]);
  (f.setting.form === "sx" ? softmaxBack : centroidBack)(f);
  return f;
}

/** A gradient of codewords: a sum over tokens, and over groups as well if they share one codebook. */
function bookGradient(f, name, formula, term) {
  const ofOne = (j, t) => all("ig", (i, g) => term(i, g, j, t));
  const ofEach = (g, j, t) => all("i", (i) => term(i, g, j, t));
  const [sum, terms] = f.setting.shared ? ["Σ_i,g", ofOne] : ["Σ_i", ofEach];
  return f.step(name, f.axes, `${sum} ${formula}`, terms);
}

function softmaxBack(f) {
  const { setting, wrong, p, w, dy, tau, beta } = f;
  // To the values: w is 1 for the code, so they hear from the tokens that chose them.
  const hard = wrong("soft values") ? p : w;
  f.dvalues = bookGradient(f, "dCᵛ", "w[i,g,j] · dy[i,g,t]", (i, g, j, t) => [hard(i, g, j), dy(i, g, t)]);
  // To the scores: w has the gradient of p, so every codeword's score gets one.
  const task = (i, g, j) => all("t", (t) => [dy(i, g, t), f.said(g, j, t)]);
  const entropy = (...igj) => [
    [-1, beta(), ratio(1, TOKENS_GROUPS), f.logp(...igj)],
    [-1, beta(), ratio(1, TOKENS_GROUPS), w(...igj), overMore(p(...igj), MORE_P)],
  ];
  f.dp = f.step("dp", "igj", `Σ_t dy[i,g,t] · Cᵛ${f.gjt}`
    + (setting.beta ? " − beta · 1/6 · (logp[i,g,j] + w[i,g,j] / (p[i,g,j] + 1e-10))" : ""),
    (...igj) => [...task(...igj), ...(setting.beta ? entropy(...igj) : [])]);
  f.m = f.step("m", "ig", "Σ_j p[i,g,j] · dp[i,g,j]", (i, g) => all("j", (j) => [p(i, g, j), f.dp(i, g, j)]));
  const bracket = (i, g, j) => (wrong("bracket") ? f.dp(i, g, j) : minus(f.dp(i, g, j), f.m(i, g)));
  f.drh = f.step("drh", "igj", "p[i,g,j] · (dp[i,g,j] − m[i,g]) / tau",
    (...igj) => [[p(...igj), bracket(...igj), wrong("tau") ? 1 : over(tau())]]);
  if (setting.norm) normalisedBack(f);
  else f.dr = f.step("dr", "igj", "drh[i,g,j]", (...igj) => [[f.drh(...igj)]]);
  f.dq = f.step("dq", "igt", `Σ_j dr[i,g,j] · Cᵏ${f.gjt}`,
    (i, g, t) => all("j", (j) => [f.dr(i, g, j), f.key(g, j, t)]));
  f.dkeys = bookGradient(f, "dCᵏ", "dr[i,g,j] · q[i,g,t]", (i, g, j, t) => [f.dr(i, g, j), f.q(i, g, t)]);
}

/** Every score moves the mean and the variance, and by them the normalised scores of all tokens. */
function normalisedBack(f) {
  const { drh, rh, sd } = f;
  const m1 = f.step("m1", "j", "mean over i,g of drh[i,g,j]",
    (j) => all("ig", (i, g) => [drh(i, g, j)]), MEAN);
  const m2 = f.step("m2", "j", "mean over i,g of drh[i,g,j] · rh[i,g,j]",
    (j) => all("ig", (i, g) => [drh(i, g, j), rh(i, g, j)]), MEAN);
  const byVariance = (i, g, j) => (f.wrong("variance") ? [] : [[-1, rh(i, g, j), m2(j), over(sd(j))]]);
  f.dr = f.step("dr", "igj", "(drh[i,g,j] − m1[j] − rh[i,g,j] · m2[j]) / sd[j]",
    (i, g, j) => [[drh(i, g, j), over(sd(j))], [-1, m1(j), over(sd(j))], ...byVariance(i, g, j)]);
}

/** The choice has no gradient, so nothing goes through the scores. The codebook term has weight 1,
 *  the commitment term beta. A planted mistake swaps the two. */
function centroidBack(f) {
  const { q, beta, dy, choice, wrong, setting } = f, each = ratio(2, ELEMENTS);
  const [ofQuery, ofCodeword] = wrong("beta") ? [1, beta()] : [beta(), 1];
  const pull = (...igt) => [ofQuery, each, minus(q(...igt), choice(...igt))];
  f.dq = f.step("dq", "igt",
    "dy[i,g,t]" + (setting.beta ? ` + beta · 2/12 · (q[i,g,t] − ${f.chosen})` : ""),
    (...igt) => [[dy(...igt)], ...(setting.beta || wrong("beta") ? [pull(...igt)] : [])]);
  f.dkeys = bookGradient(f, "dC", `[code[i,g] = j] · 2/12 · (C${f.gjt} − q[i,g,t])`,
    (i, g, j, t) => [is(f.code(i, g), j), ofCodeword, each, minus(f.key(g, j, t), q(i, g, t))]);
}
