// Elements, said in one line each; what is announced; what is asked. No string ever becomes markup.

const SVG = "http://www.w3.org/2000/svg";
const DIRECT = new Set(["value", "checked", "disabled", "selected", "hidden", "open", "multiple", "readOnly", "indeterminate"]);

function filled(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (!DIRECT.has(name)) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(5).filter((child) => child !== null && child !== undefined && child !== false && child !== ""));
  for (const name of DIRECT) if (props && name in props && props[name] !== undefined) node[name] = props[name];
  return node;
}

/** `h("button.primary", { onclick }, "Save")` */
export function h(what, props, ...children) {
  const [tag, ...classes] = what.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  return filled(node, props, children);
}

export function s(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

export function put(node, ...children) {
  node.replaceChildren();
  return filled(node, null, children);
}

export const $ = (selector, within = document) => within.querySelector(selector);

let serial = 0;
export const fresh = (stem) => `${stem}-${++serial}`;

/** A label above whatever is filled in; `note` stands below. */
export function field(label, control, note) {
  control.id ||= fresh("f");
  const told = note && h("p.note", { id: `${control.id}-note` }, note);
  if (told) control.setAttribute("aria-describedby", told.id);
  return h("div.field", null, h("label", { for: control.id }, label), control, told);
}

export function tick(label, checked, onchange) {
  const box = h("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  return h("label.tick", null, box, h("span", null, label));
}

export function select(choices, value, onchange) {
  const box = h("select", { onchange: () => onchange(box.value) });
  for (const [name, shown] of choices) box.append(h("option", { value: name, selected: name === value }, shown ?? name));
  return box;
}

/** Said to whoever listens instead of looking; a line each, so that nothing is said twice. */
export function announce(text) {
  const log = $("#said");
  log.append(h("p", null, text));
  while (log.childElementCount > 20) log.firstElementChild.remove();
}

/** Sentences of an answer, announced as they are completed. */
export class Reader {
  constructor() { this.at = 0; }
  hear(text, over) {
    const rest = text.slice(this.at);
    const end = over ? rest.length : Math.max(...[...rest.matchAll(/[.!?。！？\n](?=\s|$)|[。！？]/g)].map((m) => m.index + 1), 0);
    if (end > 0 && (over || end > 40)) { this.at += end; if (rest.slice(0, end).trim()) announce(rest.slice(0, end).trim()); }
  }
}

export function dialog(title, body, actions) {
  const head = h("h2", { id: fresh("d") }, title);
  const box = h("dialog", { "aria-labelledby": head.id, onclose: () => box.remove() }, head, body, h("div.row.end", null, actions(() => box.close())));
  document.body.append(box);
  box.showModal();
  return box;
}

export function sure(title, text, yes, no, danger = true) {
  return new Promise((answer) => {
    let said = false;
    const box = dialog(title, h("p", null, text), (close) => [
      h("button", { type: "button", onclick: close }, no),
      h(danger ? "button.danger" : "button.primary", { type: "button", onclick: () => { said = true; close(); } }, yes),
    ]);
    box.addEventListener("close", () => answer(said));
  });
}

/** A textarea as tall as its text. */
export function area(props) {
  const box = h("textarea", { rows: 1, spellcheck: "false", ...props });
  const fit = () => { box.style.height = "auto"; box.style.height = `${box.scrollHeight + 2}px`; };
  box.addEventListener("input", fit);
  requestAnimationFrame(fit);
  box.fit = fit;
  return box;
}

export async function copy(text, button, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const box = h("textarea", { readonly: true, class: "unseen", value: text });
    (button.closest("dialog") ?? document.body).append(box);
    box.select();
    document.execCommand("copy");
    box.remove();
    button.focus();
  }
  const before = button.textContent;
  button.textContent = done;
  announce(done);
  setTimeout(() => { button.textContent = before; }, 1600);
}
