// Draws the diagrams of a page that has some, in its colours. Where mermaid is not on the site they stay as text.
"use strict";

const diagrams = [...document.querySelectorAll("pre.diagram")].map((place) => ({ place, text: place.textContent }));

async function draw() {
  const dark = document.body.dataset.mdColorScheme === "slate";
  mermaid.initialize({ startOnLoad: false, securityLevel: "strict", theme: dark ? "dark" : "neutral" });
  for (const [number, { place, text }] of diagrams.entries()) {
    const { svg } = await mermaid.render(`diagram-${number}`, text);
    place.innerHTML = svg;
    place.dataset.drawn = dark ? "dark" : "light";
  }
}

if (diagrams.length > 0) {
  const script = document.createElement("script");
  script.src = new URL("mermaid.min.js", document.currentScript.src);
  script.onload = () => {
    draw();
    new MutationObserver(draw).observe(document.body, { attributeFilter: ["data-md-color-scheme"] });
  };
  document.head.append(script);
}
