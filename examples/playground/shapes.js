"use strict";
// shapes.js: the sizes, and how a list of numbers is read as a table.
// i is a token, g a group, j a codeword, t a coordinate of a group.
const SIZE = { i: 3, g: 2, j: 4, t: 2 };
const range = (n) => Array.from({ length: n }, (_, k) => k);

const known = { "": [[]] };

/** All indices of some axes in order: of "gt" [0,0], [0,1], [1,0], [1,1]; of none the empty one. */
function indices(axes) {
  const longer = (index) => range(SIZE[axes.at(-1)]).map((n) => [...index, n]);
  return (known[axes] ??= indices(axes.slice(0, -1)).flatMap(longer));
}

/** Where an index stands in the list. */
const place = (axes, index) => index.reduce((sum, n, k) => sum * SIZE[axes[k]] + n, 0);

/** One thing for every index of some axes, such as the terms of a sum. */
const all = (axes, of) => indices(axes).map((index) => of(...index));
