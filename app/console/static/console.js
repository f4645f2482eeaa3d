// What a page does for who has scripts; each of them works without.
"use strict";

// the reader's own way of writing, if it is the language of the page
const language = document.documentElement.lang;
const locale = navigator.languages.find((each) => each.split("-")[0] === language.split("-")[0]) || language;
function localise(within) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const style = "date" in time.dataset ? { dateStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
    const at = new Date(time.dateTime);
    time.textContent = new Intl.DateTimeFormat(locale, style).format(at);
    time.title = at.toISOString();
  }
}
localise(document);
document.addEventListener("freshened", (event) => localise(event.detail)); // by static/admin.js

for (const button of document.querySelectorAll("[data-dismiss]")) {
  button.hidden = false;
  button.addEventListener("click", () => button.closest(".alert").remove());
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ask && !form.dataset.sure) {
    event.preventDefault();
    ask(form);
  } else if ("once" in form.dataset) {
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
  }
});
window.addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});

// What cannot be undone is asked about first.
function ask(form) {
  const dialog = document.createElement("dialog");
  dialog.className = "ask";
  const text = document.createElement("p");
  text.textContent = form.dataset.ask;
  const buttons = document.createElement("div");
  buttons.className = "ask-buttons";
  const submitter = form.querySelector("button");
  const leave = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-outline-secondary", textContent: document.body.dataset.leave || "Cancel" });
  const sure = Object.assign(document.createElement("button"), { type: "button", className: "btn btn-danger", textContent: submitter.textContent });
  leave.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => { dialog.remove(); submitter.focus(); });
  sure.addEventListener("click", () => { form.dataset.sure = "yes"; form.requestSubmit(submitter); });
  buttons.append(leave, sure);
  dialog.append(text, buttons);
  document.body.append(dialog);
  dialog.showModal();
}

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});
