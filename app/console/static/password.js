// A password that is chosen can be looked at, and says while it is typed how much is missing.
"use strict";

for (const part of document.querySelectorAll("[data-chosen]")) {
  const field = part.querySelector("input");
  const show = part.querySelector("[data-show]");
  const bar = part.querySelector("progress");
  const said = part.querySelector("[role=status]");
  const least = Number(part.dataset.chosen);
  show.hidden = bar.hidden = false;
  show.addEventListener("click", () => {
    const shown = field.type === "text";
    field.type = shown ? "password" : "text";
    show.textContent = shown ? show.dataset.show : show.dataset.hide;
    field.focus();
  });
  field.addEventListener("input", () => {
    const length = [...field.value].length;
    bar.value = Math.min(length, least);
    said.textContent = length < least ? said.dataset.missing.replace("#", least - length) : said.dataset.enough;
  });
  field.form.addEventListener("submit", () => { field.type = "password"; });
}
