// Elements from values. Text is only ever set as text, so that no prompt, name or answer can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) node.style.setProperty(name, value); // allowed by the policy, unlike style=""
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false).map(
    (child) => (child instanceof Node ? child : String(child)),
  ));
  return node;
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);

export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

// Which way a text runs, by its first letters. `dir="auto"` would say the same, but of a megabyte in an editor it takes
// Chromium many seconds.
export const direction = (text) => (/^[^\p{L}]*[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/u.test(text.slice(0, 200)) ? "rtl" : "ltr");

export const $ = (id) => document.getElementById(id);

export function show(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child));
}
