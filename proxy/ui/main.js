// The frame: tabs, theme, and which view works when.

import { $ } from "./dom.js";
import { startLive, stopLive } from "./live.js";
import { openMap } from "./map.js";
import { openModels } from "./models.js";
import { openTry } from "./try.js";

const tabs = [...document.querySelectorAll('[role="tab"]')];
const views = { map: openMap, live: startLive, models: openModels };

function select(name, { focus = false } = {}) {
  for (const tab of tabs) {
    const isChosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", String(isChosen));
    tab.tabIndex = isChosen ? 0 : -1;
    $(tab.getAttribute("aria-controls")).hidden = !isChosen;
    if (isChosen && focus) tab.focus();
  }
  if (name !== "live") stopLive();
  views[name]?.();
  document.title = `${name[0].toUpperCase()}${name.slice(1)} · Pointsman`;
}

const named = () => tabs.map((tab) => tab.getAttribute("aria-controls")).find((name) => `#${name}` === location.hash);

for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => {
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
    select(tab.getAttribute("aria-controls"));
  });
  tab.addEventListener("keydown", (event) => {
    const last = tabs.length - 1;
    const to = { ArrowRight: place === last ? 0 : place + 1, ArrowLeft: place === 0 ? last : place - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    history.replaceState(null, "", `#${tabs[to].getAttribute("aria-controls")}`);
    select(tabs[to].getAttribute("aria-controls"), { focus: true });
  });
}
addEventListener("hashchange", () => named() && select(named()));

// auto follows the system; a choice is remembered where the browser allows it.
const THEMES = ["auto", "light", "dark"];
const SIGNS = { auto: "◐", light: "☀", dark: "☾" };

function stored() {
  try {
    const found = localStorage.getItem("pointsman-theme");
    return THEMES.includes(found) ? found : "auto";
  } catch {
    return "auto";
  }
}

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  $("theme").textContent = SIGNS[theme];
  $("theme").setAttribute("aria-label", `Theme: ${theme}`);
  $("theme").title = `Theme: ${theme}`;
  dispatchEvent(new Event("themechange"));
}

$("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  try {
    localStorage.setItem("pointsman-theme", next);
  } catch {
    // it then holds for this visit only
  }
  paint(next);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));

paint(stored());
openTry();
select(named() ?? "try");
