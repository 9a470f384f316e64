// How this browser shows the page, who its user is, and what the server is.
import { useAuth } from "../auth.js";
import { useData } from "../data.js";
import { words } from "../format.js";
import { html } from "../lib.js";
import { Band, Loaded, Switch, Time } from "../parts.js";
import { setting, useSetting } from "../prefs.js";
import { Table } from "../table.js";

export default function Settings() {
  const { access, readOnly } = useAuth();
  const version = useData("version");
  const scheme = useSetting("scheme");
  return html`<div class="bar"><h1 tabindex="-1">Settings</h1></div>
    <h2>This browser</h2>
    <p><label>Colours <select value=${scheme} onChange=${(/** @type {any} */ event) => setting("scheme", event.target.value)}>
      ${[["", "as the system"], ["light", "light"], ["dark", "dark"]].map(([value, name]) => html`<option key=${value} value=${value} selected=${value === scheme}>${name}</option>`)}</select></label></p>
    <p><${Switch} name="density" on="roomy" off="">Roomy rows<//></p>
    <p><${Switch} name="utc" on="on" off="">Times in UTC<//></p>
    <p><${Switch} name="letters" on="off" off="">Turn keys of a single letter off<//> <span class="dim"><kbd>?</kbd> lists them</span></p>
    <h2>Who you are here</h2>
    ${readOnly && html`<${Band} tone="calm">Nothing can be changed from this page. What your key permits elsewhere is below.<//>`}
    ${access && html`<dl class="facts">
        <dt>Principal</dt><dd>${access.principal}</dd>
        <dt>Credential</dt><dd>${access.credential || "none is asked for"}</dd>
        <dt>Namespace</dt><dd>${access.namespace}</dd>
        <dt>Ends</dt><dd>${access.expires_at ? html`<${Time} at=${access.expires_at} full />` : "by no clock"}</dd></dl>
      <${Table} caption="What you may do" rows=${access.grants.map((each, index) => ({ ...each, index }))} columns=${COLUMNS} id=${(/** @type {any} */ row) => String(row.index)} />`}
    <h2>The server</h2>
    <${Loaded} data=${version} what="The version">${(/** @type {any} */ it) => html`<p>${it.name} ${it.version}. <a href="../docs">Every call, to try out</a></p>`}<//>
    <p class="dim">Its settings are where it was started: its flags, environment and file.</p>`;
}

/** @type {import("../table.js").Column<any>[]} */
const COLUMNS = [
  { name: "Permits", cell: (row) => row.permissions.map(words).join(", ") },
  { name: "Queues", cell: (row) => row.queues?.join(", ") || "all" },
  { name: "Kinds", cell: (row) => row.kinds?.join(", ") || "all" },
  { name: "Payloads", cell: (row) => (row.payloads ? "shown" : "hidden") },
];
