// What makes the console feel instant. Every page and every form works without it.
"use strict";

const KEPT_MS = 4000;
const base = document.body.dataset.base;
const ahead = new Map(); // address → {at, page}: pages asked for when a pointer or the focus came near
let source = null;
let again = 0;

// Pages, fetched and swapped in

function ours(link) {
  return link && link.origin === location.origin && (link.pathname + "/").startsWith(base) &&
    !link.target && !link.hasAttribute("download") && !link.dataset.whole &&
    !(link.hash && link.pathname === location.pathname && link.search === location.search);
}

async function ask(address) {
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  if (!(answer.headers.get("Content-Type") || "").startsWith("text/html")) throw new Error("not a page");
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { page, address: answer.url, ok: answer.ok };
}

function near(event) {
  const link = event.target.closest && event.target.closest("a[href]");
  if (!ours(link)) return;
  const found = ahead.get(link.href);
  if (found && performance.now() - found.at < KEPT_MS) return;
  const page = ask(link.href);
  page.catch(() => ahead.delete(link.href));
  ahead.set(link.href, { at: performance.now(), page });
}

async function visit(address, { push, top }) {
  const found = ahead.get(address);
  ahead.clear();
  try {
    const got = await (found && performance.now() - found.at < KEPT_MS ? found.page : ask(address));
    if (!new URL(got.address).pathname.startsWith(base.slice(0, -1))) throw new Error("elsewhere");
    if (push) history.pushState(null, "", got.address + new URL(address).hash);
    for (const part of [".top", "main", ".foot"]) {
      const old = document.querySelector(part), fresh = got.page.querySelector(part);
      old.replaceWith(document.adoptNode(fresh));
    }
    document.title = got.page.title;
    if (top) scrollTo(0, 0);
    begin();
    const heading = document.querySelector("main h1");
    if (heading) { heading.tabIndex = -1; heading.focus({ preventScroll: true }); }
  } catch {
    location.href = address;
  }
}

for (const kind of ["pointerover", "focusin", "touchstart"]) {
  document.addEventListener(kind, near, { passive: true });
}
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || !ours(link)) return;
  event.preventDefault();
  visit(link.href, { push: true, top: true });
});
addEventListener("popstate", () => visit(location.href, { push: false, top: false }));
document.addEventListener("submit", (event) => {
  ahead.clear();
  if (event.target.method !== "post") return;
  // Once: a second click would ask a second time.
  for (const button of event.target.querySelectorAll("button")) setTimeout(() => { button.disabled = true; });
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[disabled]")) button.disabled = false;
});

// What a page shows, kept up to date

function morph(old, fresh) {
  if (old.dataset.kept !== undefined) return;
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open" && name !== "tabindex") old.removeAttribute(name);
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (old.getAttribute(name) !== value && name !== "open") old.setAttribute(name, value);
  }
  if (/^(TEXTAREA|SELECT|INPUT)$/.test(old.nodeName)) return;
  const named = new Map([...old.children].filter((each) => each.id).map((each) => [each.id, each]));
  let at = old.firstChild;
  for (const next of [...fresh.childNodes]) {
    let match = next.id ? named.get(next.id) : at;
    if (!next.id) while (match && match.id) match = match.nextSibling;
    if (match && match.nodeName === next.nodeName && (match.id || "") === (next.id || "")) {
      if (match === at) at = at.nextSibling; else old.insertBefore(match, at);
      if (next.nodeType === Node.ELEMENT_NODE) morph(match, next);
      else if (match.data !== next.data) match.data = next.data;
    } else {
      const made = document.importNode(next, true);
      if (next.id && made.classList) made.classList.add("fresh");
      old.insertBefore(made, at);
    }
  }
  while (at) { const gone = at; at = at.nextSibling; gone.remove(); }
}

let refreshing = null, wanted = false;
async function refresh() {
  if (refreshing) { wanted = true; return; }
  const address = location.href;
  refreshing = ask(address);
  try {
    const { page, ok } = await refreshing;
    if (!ok || address !== location.href) return;
    for (const old of document.querySelectorAll("[data-part]")) {
      const fresh = page.getElementById(old.id);
      if (fresh) morph(old, fresh);
    }
    const said = page.querySelector("main").dataset.announce, main = document.querySelector("main");
    if (said && said !== main.dataset.announce) {
      main.dataset.announce = said;
      document.getElementById("announce").textContent = said;
    }
  } catch { /* the stream tells again */ } finally {
    refreshing = null;
    if (wanted) { wanted = false; setTimeout(refresh, 200); }
  }
}

function lamp(on) {
  const found = document.getElementById("lamp");
  if (!found) return;
  found.dataset.live = on ? "on" : "off";
  found.textContent = on ? "Live" : "Connecting again …";
}

function listen() {
  if (source) source.close();
  source = null;
  clearTimeout(again);
  const address = document.querySelector("main").dataset.live;
  if (!address || document.hidden) return;
  const mine = source = new EventSource(address);
  let pending = 0;
  const soon = () => { clearTimeout(pending); pending = setTimeout(refresh, 60); };
  mine.addEventListener("ready", () => { lamp(true); soon(); });
  mine.addEventListener("changed", soon);
  mine.addEventListener("token", (event) => {
    const said = document.getElementById("said");
    if (!said) return;
    const { step, text } = JSON.parse(event.data);
    said.closest("section").hidden = false;
    if (said.dataset.step !== step) { said.append((said.dataset.step ? "\n\n" : "") + step + ": "); said.dataset.step = step; }
    said.append(text);
    said.scrollTop = said.scrollHeight;
  });
  mine.addEventListener("over", () => { mine.close(); soon(); const found = document.getElementById("lamp"); if (found) found.hidden = true; });
  mine.onerror = () => {
    if (mine !== source) return;
    lamp(false);
    if (mine.readyState === EventSource.CLOSED) again = setTimeout(listen, 5000);
  };
}
document.addEventListener("visibilitychange", listen);

// Relative times go on

function span(seconds) {
  const units = [[31536000, "y"], [86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const whole = Math.round(seconds);
  for (const [index, [size, unit]] of units.entries()) {
    if (whole < size) continue;
    const first = Math.floor(whole / size), next = units[index + 1];
    const rest = next && first < 10 ? Math.floor((whole % size) / next[0]) : 0;
    return `${first} ${unit}${rest ? ` ${rest} ${next[1]}` : ""}`;
  }
  return "0 s";
}
setInterval(() => {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const away = (Date.now() - Date.parse(time.dateTime)) / 1000;
    time.textContent = Math.abs(away) < 1.5 ? "just now" : away > 0 ? `${span(away)} ago` : `in ${span(-away)}`;
  }
}, 10000);

// Keyboard: a control says its key by data-key, and shows it

document.addEventListener("keydown", (event) => {
  const field = /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.nodeName);
  if (event.key === "Escape" && field) { event.target.blur(); return; }
  if (field || event.metaKey || event.ctrlKey || event.altKey || event.repeat) return;
  const control = document.querySelector(`[data-key="${CSS.escape(event.key)}"]`);
  if (!control || control.disabled || control.closest("[hidden]")) return;
  event.preventDefault();
  const fold = control.closest("details");
  if (fold) fold.open = true;
  if (control.nodeName === "SUMMARY") {
    const first = control.parentElement.querySelector("input:not([type=hidden]), textarea, select");
    if (first) first.focus(); else control.focus();
  } else if (/^(INPUT|TEXTAREA|SELECT)$/.test(control.nodeName)) control.focus();
  else control.click();
});

function begin() {
  // A form that was refused is shown at the form's address, which nobody can load anew.
  const { here } = document.querySelector("main").dataset;
  if (here && here !== location.pathname) history.replaceState(null, "", here);
  listen();
}
begin();
