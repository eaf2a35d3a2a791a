"use strict";
// Search, filter and order of the list. Without it the page is complete, only longer.
(() => {
  const list = document.getElementById("items");
  const items = Array.from(list.children);
  const search = document.getElementById("search");
  const verdict = document.getElementById("verdict");
  const order = document.getElementById("order");
  const shown = document.getElementById("shown");
  const texts = new Map();
  const text = (item) => {
    if (!texts.has(item)) texts.set(item, item.textContent.toLowerCase());
    return texts.get(item);
  };
  const number = (item, name) => Number(item.dataset[name]);

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const item of items) {
      const fits = (!verdict.value || item.dataset.verdict === verdict.value)
        && words.every((word) => text(item).includes(word));
      item.hidden = !fits;
      count += fits;
    }
    shown.value = count === items.length ? `${count} shown` : `${count} of ${items.length} shown`;
  }

  function sort() {
    const by = {
      number: (a, b) => number(a, "number") - number(b, "number"),
      high: (a, b) => number(b, "score") - number(a, "score"),
      // Without a score is neither high nor low: those come last.
      low: (a, b) => (number(a, "score") < 0) - (number(b, "score") < 0) || number(a, "score") - number(b, "score"),
    }[order.value];
    list.append(...items.sort(by));
  }

  function open() {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.matches(".item")) {
      if (target.hidden) {
        search.value = verdict.value = "";
        filter();
      }
      target.open = true;
      target.scrollIntoView();
    }
  }

  search.addEventListener("input", filter);
  verdict.addEventListener("change", filter);
  order.addEventListener("change", sort);
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const tile of document.querySelectorAll("[data-filter]")) {
    tile.addEventListener("click", () => { verdict.value = tile.dataset.filter; filter(); });
  }
  window.addEventListener("hashchange", open);
  document.getElementById("controls").hidden = false;
  filter();
  open();
})();
