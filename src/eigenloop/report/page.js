"use strict";
// Everything here is a convenience: without JavaScript the page shows all rows, and commands are selected by hand.

for (const bar of document.querySelectorAll("[data-filters]")) {
  const rows = [...document.getElementById(bar.dataset.filters).tBodies];
  const buttons = [...bar.querySelectorAll("button")];
  const count = bar.querySelector("output");
  bar.hidden = false;
  bar.addEventListener("click", (event) => {
    const chosen = event.target.closest("button");
    if (!chosen) return;
    const value = chosen.dataset.value;
    for (const button of buttons) button.setAttribute("aria-pressed", String(button === chosen));
    for (const row of rows) row.hidden = value !== undefined && row.dataset.value !== value;
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
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
