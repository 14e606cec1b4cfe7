"use strict";
const lanes = document.getElementById("lanes"), svg = lanes.querySelector("svg");
const arrows = JSON.parse(document.getElementById("arrows").textContent);
const place = (id) => { const box = document.getElementById(id).getBoundingClientRect(), top = lanes.getBoundingClientRect();
  return { left: box.left - top.left, right: box.right - top.left, middle: box.top - top.top + 14 }; };
function draw() {
  svg.querySelectorAll("path.arrow").forEach((one) => one.remove());
  for (const [from, to, name] of arrows) {
    const a = place(from), b = place(to), leftwards = a.left > b.left;
    const [x1, x2] = leftwards ? [a.left, b.right + 5] : [a.right, b.left - 5], half = (x1 + x2) / 2;
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", "arrow"); path.setAttribute("marker-end", "url(#head)");
    path.setAttribute("d", `M${x1},${a.middle} C${half},${a.middle} ${half},${b.middle} ${x2},${b.middle}`);
    const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
    title.textContent = name; path.append(title); svg.append(path);
  }
}
function choose(pointer) {
  const below = (one) => pointer !== "" && (one === pointer || one.startsWith(pointer + "/"));
  let first = null;
  document.querySelectorAll("#config span").forEach((line) => {
    const chosen = below(line.dataset.pointer); line.classList.toggle("chosen", chosen); if (chosen && !first) first = line; });
  document.querySelectorAll("#lanes details").forEach((step) => step.classList.toggle("chosen", below(step.dataset.pointer)));
  const config = document.getElementById("config");
  if (first && getComputedStyle(config).position === "sticky") config.scrollTop = first.offsetTop - config.clientHeight / 3;
}
lanes.addEventListener("toggle", (event) => { if (event.target.open) choose(event.target.dataset.pointer); draw(); }, true);
document.getElementById("config").addEventListener("click", (event) => {
  const line = event.target.closest("span"); if (line) choose(line.dataset.pointer); });
// page.html#step-host-5 is a link to a step.
const linked = location.hash.startsWith("#step-") && document.getElementById(location.hash.slice(6));
if (linked) { linked.open = true; linked.scrollIntoView({ block: "nearest" }); }
new ResizeObserver(draw).observe(lanes);
draw();
