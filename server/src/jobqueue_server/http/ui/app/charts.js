// The charts of the overview, of a queue and of a kind: the same four, of different series.
import { Chart } from "./chart.js";
import { duration, rate } from "./format.js";
import { html } from "./lib.js";

/** @param {{lines: import("./stats.js").Lines}} props */
export const Throughput = ({ lines }) => html`<${Chart} title="Jobs a second" times=${lines.times} show=${rate} lines=${[
  { name: "enqueued", tone: "live", values: lines.enqueued },
  { name: "succeeded", tone: "good", values: lines.done },
  { name: "failed attempts", tone: "bad", values: lines.failed },
]} />`;

/** @param {{lines: import("./stats.js").Lines}} props */
export const Waits = ({ lines }) => html`<${Chart} title="How long jobs waited once they were due" times=${lines.times} show=${duration}
  empty="No job started in this time." lines=${[
    { name: "p50", tone: "live", values: lines.wait_p50 },
    { name: "p99", tone: "warn", values: lines.wait_p99 },
  ]} />`;

/** @param {{lines: import("./stats.js").Lines}} props */
export const Runs = ({ lines }) => html`<${Chart} title="How long attempts ran" times=${lines.times} show=${duration}
  empty="No attempt ended in this time." lines=${[
    { name: "p50", tone: "live", values: lines.run_p50 },
    { name: "p99", tone: "warn", values: lines.run_p99 },
  ]} />`;
