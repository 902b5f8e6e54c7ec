// Plots, drawn by hand: stacked bars, and spans from the median to the slowest in twenty. Each has its table beside it.

import { h, s } from "./dom.js";
import { t } from "./words.js";

const H = 220, LEFT = 56, BOTTOM = 26, TOP = 10;

/** A round number at or above `most`. */
export function ceiling(most) {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((step) => step * power >= most) * power;
}

function frame(W, title, rows, top, shown, draw) {
  const step = (W - LEFT) / Math.max(rows.length, 1);
  const y = (value) => TOP + (H - TOP - BOTTOM) * (1 - value / top);
  const lines = [0, 0.5, 1].map((share) => [
    s("line", { class: "grid", x1: LEFT, x2: W, y1: y(top * share), y2: y(top * share) }),
    s("text", { class: "axis", x: LEFT - 8, y: y(top * share) + 4, "text-anchor": "end" }, shown(top * share)),
  ]);
  const every = Math.ceil((rows.length * 52) / (W - LEFT));
  return s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": title, class: "plot" },
    lines,
    rows.map((row, at) => {
      const x = LEFT + at * step;
      return s("g", null, s("title", null, row.told), draw(row, x, step, y), at % every === 0 && s("text", { class: "axis", x: x + step / 2, y: H - 6, "text-anchor": "middle" }, row.name));
    }));
}

/** `W` pixels wide. `rows`: [{ name, told, parts: [numbers] }]; `names` of the parts from below. */
export function bars(W, title, rows, names, shown, kinds = ["part0", "part1", "part2"]) {
  const top = ceiling(Math.max(...rows.map((row) => row.parts.reduce((sum, part) => sum + part, 0)), 0));
  const svg = frame(W, title, rows, top, shown, (row, x, step, y) => {
    let base = 0;
    const wide = Math.min(step * 0.7, 44);
    return row.parts.map((part, at) => {
      const from = base;
      base += part;
      return part > 0 && s("rect", { class: kinds[at], x: x + (step - wide) / 2, width: wide, y: y(base), height: Math.max(y(from) - y(base), 0.5) });
    });
  });
  return h("figure.plotted", null, h("figcaption", null, h("strong", null, title), names.map((name, at) => h("span.legend", null, h(`i.${kinds[at]}`), name))), svg);
}

/** `rows`: [{ name, told, p50, p95 }] */
export function spans(W, title, rows, shown) {
  const top = ceiling(Math.max(...rows.map((row) => row.p95 ?? row.p50 ?? 0), 0));
  const svg = frame(W, title, rows, top, shown, (row, x, step, y) => {
    const at = x + step / 2;
    return row.p50 !== null && [
      s("line", { class: "span", x1: at, x2: at, y1: y(row.p50), y2: y(row.p95 ?? row.p50) }),
      s("circle", { class: "p50", cx: at, cy: y(row.p50), r: 4 }),
      s("circle", { class: "p95", cx: at, cy: y(row.p95 ?? row.p50), r: 3 }),
    ];
  });
  return h("figure.plotted", null, h("figcaption", null, h("strong", null, title), h("span.legend", null, h("i.p50"), t("median")), h("span.legend", null, h("i.p95"), t("95th percentile"))), svg);
}
