// trace.js: every number is a sum of products of other numbers.
// A step lists the products of each of its numbers once. Its value, its explanation and the numbers
// that light up all come from that list.

/** A factor: its value, the numbers that it reads, and how it is written, given how to write those. */
const factor = (value, sources, write) => ({ value, sources, write });
const ratio = (a, b) => factor(a / b, [], () => `${a}/${b}`);
const minus = (a, b) => factor(a.value - b.value, [a, b], (show) => `(${show(a)} − ${show(b)})`);
const square = (a, b) => factor((a.value - b.value) ** 2, [a, b], (show) => `(${show(a)} − ${show(b)})²`);
const over = (a) => factor(1 / a.value, [a], (show) => `1/${show(a)}`);
const overMore = (a, more) => factor(1 / (a.value + more), [a], (show) => `1/(${show(a)} + ${more})`);
/** 1 if the code is j, and 0 otherwise. */
const is = (code, j) => factor(code.value === j ? 1 : 0, [code], (show) => `[${show(code)} = ${j}]`);
const product = (factors) => factors.reduce((soFar, factor) => soFar * (factor.value ?? factor), 1);

/** What is done with the products: most often their sum is taken. */
const SUM = { name: "", between: " + ", of: (products) => products.reduce((sum, x) => sum + x, 0) };
const MEAN = { name: "mean", between: ", ", of: (products) => SUM.of(products) / products.length };
const through = (name, of) => ({ name, between: " + ", of: (products) => of(SUM.of(products)) });
const [SQRT, EXP, LOG] = [through("sqrt", Math.sqrt), through("exp", Math.exp), through("log", Math.log)];
/** These two are held: in the held function they keep the values of the base point. */
const STOP = { ...through("stop", (x) => x), held: true };
const ARGMAX = { name: "argmax", between: ", ", held: true, of: (xs) => xs.indexOf(Math.max(...xs)) };

/** A number of a step, as another step reads it. It is a factor, too. */
class Reading {
  constructor(step, index) { [this.step, this.index] = [step, index]; }
  get value() { return this.step.values[place(this.step.axes, this.index)]; }
  get name() { return this.step.name + (this.index.length ? `[${this.index}]` : ""); }
  get sources() { return [this]; }
  write(show) { return show(this); }
}
const readings = (step) => all(step.axes, (...index) => new Reading(step, index));

/** The steps taken so far. With a base, what is held has the base's values. */
class Trace {
  constructor(base) { Object.assign(this, { base, steps: [], side: "forward" }); }
  named(name) { return this.steps.find((step) => step.name === name || step.tensor === name); }

  /** Adds what is computed; `terms` gives the products of the number at an index. */
  step(name, axes, formula, terms, rule = SUM) {
    const value = (index) => rule.of(terms(...index).map(product));
    const values = this.base && rule.held ? this.base.named(name).values : indices(axes).map(value);
    return this.add({ name, axes, values, formula, terms, rule, side: this.side });
  }

  /** Returns what reads the step. */
  add(step) {
    this.steps.push(step);
    return Object.assign((...index) => new Reading(step, index), { step });
  }
}
