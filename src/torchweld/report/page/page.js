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

// Zoom with Ctrl and the wheel, so that the page itself still scrolls; drag to move; double-click to reset.
for (const pan of document.querySelectorAll(".pan")) {
  const svg = pan.querySelector("svg");
  const home = svg.getAttribute("viewBox").split(" ").map(Number);
  let view = [...home];
  const show = () => svg.setAttribute("viewBox", view.join(" "));
  pan.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const scale = Math.exp(event.deltaY * 0.002);
    view = [at.x + (view[0] - at.x) * scale, at.y + (view[1] - at.y) * scale, view[2] * scale, view[3] * scale];
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
    const unit = 1 / svg.getScreenCTM().a;
    view[0] -= (event.clientX - grip[0]) * unit;
    view[1] -= (event.clientY - grip[1]) * unit;
    grip = [event.clientX, event.clientY];
    show();
  });
  for (const kind of ["pointerup", "pointercancel"]) pan.addEventListener(kind, () => { grip = null; });
  pan.addEventListener("dblclick", () => { view = [...home]; show(); });
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
