"use strict";
// Everything here is a convenience: without JavaScript the page shows all rows, and commands are selected by hand.

const bars = [...document.querySelectorAll("[data-filters]")];
for (const bar of bars) {
  const rows = [...document.getElementById(bar.dataset.filters).tBodies];
  const together = bars.filter((other) => other.dataset.filters === bar.dataset.filters); // of one table
  const wanted = (other) => other.querySelector('[aria-pressed="true"]').dataset.value;
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    for (const button of bar.querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === chosen));
    const passes = (row) => together.every((other) => [undefined, row.dataset[other.dataset.key]].includes(wanted(other)));
    for (const row of rows) row.hidden = !passes(row);
    for (const other of together) other.querySelector("output").textContent = "";
    const left = rows.filter((row) => !row.hidden).length;
    together.at(-1).querySelector("output").textContent = `${left} of ${rows.length} rows`;
  });
}

for (const button of document.querySelectorAll("button.copy")) {
  const code = button.closest(".command").querySelector("code");
  button.hidden = false;
  button.addEventListener("click", async () => {
    let copied = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Some browsers keep the clipboard from pages opened from disk: select the text and copy the selection.
      getSelection().selectAllChildren(code);
      copied = document.execCommand("copy");
    }
    button.textContent = copied ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
}

// What scrolls must be reachable with the keyboard; what does not scroll should not be a stop on the way.
const scrollers = [...document.querySelectorAll(".scroll")];
const reach = () => {
  for (const box of scrollers) box.toggleAttribute("tabindex", false);
  for (const box of scrollers) if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
};
addEventListener("resize", reach);
reach();

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
