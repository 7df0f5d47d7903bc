// Shows one case at a time and two systems side by side. It reads the page and writes no markup: texts stay texts.
"use strict";
for (const browser of document.querySelectorAll(".browser")) {
  const one = (selector, inside = browser) => inside.querySelector(selector);
  const all = (selector, inside = browser) => [...inside.querySelectorAll(selector)];
  const controls = one(".controls");
  const cases = all(".case");
  const tagsOf = new Map([...cases, ...all(".answer")].map((node) => [node, JSON.parse(node.dataset.tags)]));
  const texts = new Map(cases.map((node) => [node, node.textContent.toLowerCase()]));
  let matching = cases;
  let shown = cases[0];

  const chosen = () => all("[data-side]").map((select) => select.value);
  const answer = (node, side) => one(`.answer[data-system="${chosen()[side]}"]`, node);
  const rating = (node, side) => (tagsOf.get(answer(node, side)).rating || [""])[0];

  function matches(node) {
    for (const select of all("[data-filter]")) {
      const found = tagsOf.get(select.dataset.of === "answer" ? answer(node, 0) : node)[select.dataset.filter] || [];
      if (select.value && !found.includes(select.value)) return false;
    }
    if (one("[data-differ]").checked && rating(node, 0) === rating(node, 1)) return false;
    return texts.get(node).includes(one("[data-search]").value.trim().toLowerCase());
  }

  function draw() {
    const [left, right] = chosen();
    for (const node of cases) node.hidden = node !== shown;
    if (shown) {
      for (const part of all(".answer", shown)) {
        part.hidden = part.dataset.system !== left && part.dataset.system !== right;
        part.style.order = part.dataset.system === left ? 0 : 1;
      }
    }
    const place = matching.indexOf(shown) + 1;
    const whole = matching.length < cases.length ? ` that match, of ${cases.length}` : "";
    one("output").textContent = shown ? `${place} of ${matching.length}${whole}` : "no case matches";
  }

  function filter() {
    matching = cases.filter(matches);
    if (!matching.includes(shown)) shown = matching[0];
    draw();
  }

  function move(step) {
    if (!matching.length) return;
    const place = matching.indexOf(shown) + step;
    shown = matching[Math.min(Math.max(place, 0), matching.length - 1)];
    draw();
  }

  controls.addEventListener("input", filter);
  for (const button of all("[data-move]")) button.addEventListener("click", () => move(Number(button.dataset.move)));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    if (event.key === "j") move(1);
    if (event.key === "k") move(-1);
  });
  controls.hidden = false;
  filter();
}
