import { html } from "../lib.js";
export default function Soon() {
  return html`<h1 tabindex="-1">Soon</h1>`;
}
