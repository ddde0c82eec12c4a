"use strict";

// Figures take their ink and grid from the style sheet, and follow it when the reader turns dark mode on or off.
function drawFigures() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue("--soft").trim();
  const grid = style.getPropertyValue("--grid").trim();
  const card = style.getPropertyValue("--card").trim();
  for (const [id, figure] of Object.entries(FIGURES)) {
    const layout = structuredClone(figure.layout);
    layout.font = { color: ink, size: 12, family: getComputedStyle(document.body).fontFamily };
    layout.hoverlabel = { bgcolor: card, bordercolor: grid, font: { color: style.getPropertyValue("--ink").trim() } };
    for (const axis of ["xaxis", "yaxis"]) {
      layout[axis] = { ...layout[axis], gridcolor: grid, linecolor: grid, tickcolor: grid };
    }
    Plotly.react(id, structuredClone(figure.data), layout, { responsive: true, displayModeBar: false });
  }
}
drawFigures();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawFigures);

// Both graphs share one scale and one height, so that what stands side by side stays side by side: drag to move, Ctrl
// and the wheel to zoom (the page itself still scrolls), double-click to reset.
const TALLEST = 1400;
const pans = [...document.querySelectorAll(".pan")].map((pan) => {
  const svg = pan.querySelector("svg");
  const [left, top, width, height] = svg.getAttribute("viewBox").split(" ").map(Number);
  return { pan, svg, home: { left, top, width, height }, left: 0 };
});
let scale = 1, top0 = 0, tall = 0;
function room(pan) { return pan.clientWidth - 20; }
function show() {
  for (const { pan, svg, left } of pans) {
    svg.setAttribute("width", room(pan));
    svg.setAttribute("height", tall);
    svg.setAttribute("viewBox", `${left} ${top0} ${room(pan) / scale} ${tall / scale}`);
  }
}
function reset() {
  const fit = Math.min(...pans.map(({ pan, home }) => room(pan) / home.width));
  scale = Math.min(1, Math.max(0.55, fit));
  tall = Math.min(TALLEST, scale * Math.max(...pans.map(({ home }) => home.height)));
  top0 = pans[0].home.top;
  for (const each of pans) each.left = each.home.left + (each.home.width - room(each.pan) / scale) / 2;
  show();
}
for (const own of pans) {
  const { pan, svg } = own;
  pan.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = svg.getBoundingClientRect();
    const across = (event.clientX - at.left) / at.width;
    const next = Math.min(8, Math.max(0.1, scale * Math.exp(-event.deltaY * 0.002)));
    for (const each of pans) {
      const share = each === own ? across : 0.5;
      each.left += share * room(each.pan) * (1 / scale - 1 / next);
    }
    top0 += (event.clientY - at.top) * (1 / scale - 1 / next);
    scale = next;
    show();
  }, { passive: false });
  let grip = null;
  pan.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") return;
    grip = [event.clientX, event.clientY];
    pan.setPointerCapture(event.pointerId);
  });
  pan.addEventListener("pointermove", (event) => {
    if (!grip) return;
    own.left -= (event.clientX - grip[0]) / scale;
    top0 -= (event.clientY - grip[1]) / scale;
    grip = [event.clientX, event.clientY];
    show();
  });
  for (const kind of ["pointerup", "pointercancel"]) pan.addEventListener(kind, () => { grip = null; });
  pan.addEventListener("dblclick", reset);
}
if (pans.length) {
  reset();
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) reset();
    width = innerWidth;
  });
}

// Pointing at an operation shows, on both sides, all that stands for the same modules.
const boxes = [...document.querySelectorAll(".box")].map((box) => [box, box.dataset.sources.split(" ").filter(Boolean)]);
const graphs = document.querySelector(".graphs");
for (const [box, sources] of boxes) {
  if (!sources.length) continue;
  box.addEventListener("pointerenter", () => {
    graphs.classList.add("pointing");
    for (const [other, theirs] of boxes) other.classList.toggle("hit", theirs.some((name) => sources.includes(name)));
  });
  box.addEventListener("pointerleave", () => graphs.classList.remove("pointing"));
}
