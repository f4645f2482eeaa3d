// Administration: the reader's time zone for the server, figures that stay fresh, fields that belong to a choice.
"use strict";

// The zone is told once; the page that came by another one is asked for again.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
if (!document.cookie.split("; ").includes(`gatehouse-console-zone=${zone}`)) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `gatehouse-console-zone=${zone}; Path=/console; Max-Age=31536000; SameSite=Lax${secure}`;
}

const LIVE_MS = 30000;
let asking = false;

// Whoever has the focus within, or reads a table that is open, is not disturbed.
async function freshen() {
  const here = document.querySelector("[data-live]");
  if (!here || asking || document.hidden || here.contains(document.activeElement)) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.querySelector("[data-live]");
    if (!fresh || here.contains(document.activeElement)) return;
    for (const open of here.querySelectorAll("details[open]")) {
      const same = fresh.querySelector(`#${open.id}`);
      if (same) same.open = true;
    }
    here.replaceWith(document.adoptNode(fresh));
    document.dispatchEvent(new CustomEvent("freshened", { detail: fresh }));
  } catch {
    // the network is away: the next time
  } finally {
    asking = false;
  }
}
if (document.querySelector("[data-live]")) {
  if (document.querySelector("[data-live]").dataset.zone !== zone) freshen();
  setInterval(freshen, LIVE_MS);
  document.addEventListener("visibilitychange", freshen);
}

for (const part of document.querySelectorAll("[data-only-with]")) {
  const choice = document.getElementById(part.dataset.onlyWith);
  const show = () => { part.hidden = !choice.checked; };
  for (const each of document.getElementsByName(choice.name)) each.addEventListener("change", show);
  show();
}
