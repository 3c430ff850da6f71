"use strict";
// Three things, and every page works without them: times said relatively, text copied by a
// button, and a page that asks for itself again when the event stream says that something changed.

const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function relative(seconds) {
  const ahead = seconds < 0;
  let rest = Math.floor(Math.abs(seconds));
  const [size, unit] = UNITS.find(([size]) => rest >= size) || [1, "s"];
  const text = `${Math.floor(rest / size)} ${unit}`;
  return ahead ? `in ${text}` : `${text} ago`;
}

function sayTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const text = relative((Date.now() - Date.parse(time.dateTime)) / 1000);
    if (time.textContent !== text) time.textContent = text;
  }
}

async function copy(button) {
  const text = document.getElementById(button.dataset.copy).textContent;
  const before = button.innerHTML;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    // Without TLS a browser has no clipboard for us: select the text instead.
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.innerHTML = before; }, 2000);
}

// Parts of a page carry `data-part` and an id; what was opened stays open.
function takeOver(fresh) {
  for (const part of document.querySelectorAll("[data-part][id]")) {
    const next = fresh.getElementById(part.id);
    if (!next) continue;
    sayTimes(next);
    if (next.outerHTML === part.outerHTML) continue;
    const open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    part.replaceWith(document.adoptNode(next));
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }
}

function sign(state, text) {
  const sign = document.getElementById("live-sign");
  if (sign && sign.dataset.state !== state) { sign.dataset.state = state; sign.textContent = text; }
}

let looking = false, stale = false;

async function lookAgain() {
  if (document.hidden || looking) { stale = true; return; }
  looking = true;
  stale = false;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.ok) takeOver(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch { stale = true; } finally { looking = false; }
  if (stale && !document.hidden) setTimeout(lookAgain, 500);
}

function live(path) {
  const events = new EventSource(path);
  events.addEventListener("here", () => { sign("on", "live"); lookAgain(); });
  events.addEventListener("changed", lookAgain);
  events.addEventListener("error", () => {
    sign("lost", "not live: no connection");
    // A refused stream is not tried again by the browser itself.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => live(path), 10000);
  });
  addEventListener("pagehide", () => events.close(), { once: true });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});
document.addEventListener("visibilitychange", () => { if (stale && !document.hidden) lookAgain(); });
sayTimes(document);
setInterval(() => { if (!document.hidden) sayTimes(document); }, 1000);
if (document.body.dataset.live) live(document.body.dataset.live);
