"use strict";
const rows = Array.from(document.querySelectorAll(".node"));
const level = (row) => Number(row.getAttribute("aria-level"));
const isInner = (row) => row.hasAttribute("aria-expanded");
const isOpen = (row) => row.getAttribute("aria-expanded") === "true";
const atFirst = rows.map(isOpen);

function setOpen(row, open) {
  if (!isInner(row)) return;
  row.setAttribute("aria-expanded", String(open));
  row.querySelector(".toggle").textContent = open ? "▾" : "▸";
}

function redraw() {
  let hiddenBelow = Infinity;  // level of the closed row above
  for (const row of rows) {
    if (level(row) > hiddenBelow) { row.hidden = true; row.style.display = "none"; continue; }
    row.hidden = false;
    row.style.display = "";
    hiddenBelow = isInner(row) && !isOpen(row) ? level(row) : Infinity;
  }
}

function reveal(row) {
  let wanted = level(row) - 1;
  for (let index = rows.indexOf(row) - 1; index >= 0 && wanted > 0; index--) {
    if (level(rows[index]) === wanted) { setOpen(rows[index], true); wanted--; }
  }
  redraw();
  document.querySelectorAll(".target").forEach((one) => one.classList.remove("target"));
  row.classList.add("target");
  row.scrollIntoView({ block: "center" });
  row.focus({ preventScroll: true });
}

const card = document.getElementById("card");
function show(row, x, y) {
  card.querySelector("pre").textContent = row.querySelector(".text").textContent;
  const list = card.querySelector("dl");
  list.replaceChildren();
  for (const fact of row.dataset.facts.split("\n")) {
    const [name, value] = fact.split("\t");
    const item = document.createElement("div");
    item.append(Object.assign(document.createElement("dt"), { textContent: name }));
    item.append(Object.assign(document.createElement("dd"), { textContent: value }));
    list.append(item);
  }
  card.style.display = "block";
  const box = card.getBoundingClientRect();
  const below = y + 18 + box.height < innerHeight;
  card.style.left = Math.max(8, Math.min(x + 14, document.documentElement.clientWidth - box.width - 12)) + "px";
  card.style.top = (below ? y + 18 : Math.max(8, y - box.height - 14)) + "px";
}

const tree = document.querySelector(".tree");
tree.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  const row = event.target.closest(".node");
  if (link) { event.preventDefault(); reveal(document.querySelector(link.getAttribute("href"))); return; }
  if (event.target.closest(".text")) { row.classList.toggle("whole"); return; }
  if (row) { setOpen(row, !isOpen(row)); redraw(); row.focus({ preventScroll: true }); }
});
tree.addEventListener("mousemove", (event) => {
  const row = event.target.closest(".node");
  if (row) show(row, event.clientX, event.clientY); else card.style.display = "none";
});
tree.addEventListener("mouseleave", () => { card.style.display = "none"; });
addEventListener("scroll", () => { card.style.display = "none"; }, { passive: true });
tree.addEventListener("keydown", (event) => {
  const row = event.target.closest(".node");
  if (!row) return;
  const shown = rows.filter((one) => !one.hidden);
  const at = shown.indexOf(row);
  const move = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (move) { shown[Math.max(0, Math.min(shown.length - 1, at + move))].focus(); }
  else if (event.key === "ArrowRight" || event.key === "ArrowLeft") { setOpen(row, event.key === "ArrowRight"); redraw(); }
  else if (event.key === "Enter" || event.key === " ") { setOpen(row, !isOpen(row)); redraw(); }
  else return;
  event.preventDefault();
});
const all = (open) => { rows.forEach((row, index) => setOpen(row, open(index))); redraw(); };
document.getElementById("open").onclick = () => all(() => true);
document.getElementById("close").onclick = () => all((index) => index === 0);
document.getElementById("first").onclick = () => all((index) => atFirst[index]);
rows.forEach((row, index) => setOpen(row, atFirst[index]));
redraw();
if (/^#n\d+$/.test(location.hash) && document.querySelector(location.hash)) reveal(document.querySelector(location.hash));
