// The frame: who may come in, where to go, what is wrong with the connection, and the page that the URL names.
import { call } from "./api.js";
import { getKey, setAccess, setKey, useAuth } from "./auth.js";
import { useConnection } from "./connection.js";
import { useData } from "./data.js";
import { Said } from "./dialog.js";
import { duration } from "./format.js";
import { Keys } from "./keys.js";
import { mayRead } from "./may.js";
import { Component, html, render, useEffect, useRef, useState } from "./lib.js";
import { Live } from "./overview.js";
import { Band, Time, useNow } from "./parts.js";
import Audit from "./pages/audit.js";
import Dead from "./pages/dead.js";
import Job from "./pages/job.js";
import Jobs from "./pages/jobs.js";
import Kinds from "./pages/kinds.js";
import Operations from "./pages/operations.js";
import Overview from "./pages/overview.js";
import Queue from "./pages/queue.js";
import Queues from "./pages/queues.js";
import Schedule from "./pages/schedule.js";
import Schedules from "./pages/schedules.js";
import Servers from "./pages/servers.js";
import Settings from "./pages/settings.js";
import Worker from "./pages/worker.js";
import Workers from "./pages/workers.js";
import { apply } from "./prefs.js";
import { Link, url, usePlace } from "./router.js";

/**
 * Each page: its address below /ui/ (`:name` stands for one part), its name, and what draws it of `{params, query}`.
 * @type {[string, string, (props: any) => unknown][]}
 */
const PAGES = [
  ["", "Overview", Overview],
  ["queues", "Queues", Queues],
  ["queues/:name", "Queue", Queue],
  ["kinds", "Kinds", Kinds],
  ["jobs", "Jobs", Jobs],
  ["jobs/:id", "Job", Job],
  ["dead", "Dead", Dead],
  ["operations", "Operations", Operations],
  ["audit", "Audit", Audit],
  ["workers", "Workers", Workers],
  ["workers/:id", "Worker", Worker],
  ["schedules", "Schedules", Schedules],
  ["schedules/:name", "Schedule", Schedule],
  ["servers", "Servers", Servers],
  ["settings", "Settings", Settings],
];
const NAVIGATION = ["", "queues", "kinds", "jobs", "dead", "workers", "schedules", "operations", "servers", "audit", "settings"];

/** @param {string} path @returns {{name: string, Found: (props: any) => unknown, params: Record<string, string>} | null} */
function find(path) {
  const parts = path.replace(/\/$/, "").split("/");
  for (const [pattern, name, Found] of PAGES) {
    const wanted = pattern.split("/");
    if (wanted.length !== parts.length) continue;
    /** @type {Record<string, string>} */
    const params = {};
    const fits = wanted.every((part, index) => {
      const given = parts[index] ?? "";
      if (!part.startsWith(":")) return part === given;
      try {
        params[part.slice(1)] = decodeURIComponent(given);
      } catch {
        return false;
      }
      return given !== "";
    });
    if (fits) return { name, Found, params };
  }
  return null;
}

/** A page that fails says so, and the others go on. */
class Guard extends Component {
  /** @override */ state = { error: /** @type {Error | null} */ (null) };
  static getDerivedStateFromError(/** @type {Error} */ error) {
    return { error };
  }
  componentDidCatch(/** @type {Error} */ error) {
    console.error(error);
  }
  render() {
    if (!this.state.error) return this.props.children;
    return html`<h1 tabindex="-1">Something went wrong</h1><${Band} tone="bad">The page failed: ${this.state.error.message}
      <button type="button" class="small" onClick=${() => this.setState({ error: null })}>Try again</button><//>`;
  }
}

function Page() {
  const { path, query } = usePlace();
  const found = find(path);
  useEffect(() => {
    document.title = `${found ? (Object.values(found.params)[0] ?? found.name) : "Not found"} – JobQueue`;
  }, [path]);
  if (!found) {
    return html`<h1 tabindex="-1">Nothing here</h1><p>There is no page <code>${path}</code>. <${Link} to=${url("")}>To the overview<//></p>`;
  }
  return html`<${Guard} key=${path}><${found.Found} params=${found.params} query=${query} /><//>`;
}

function Login() {
  const { why } = useAuth();
  const [key, set] = useState("");
  const field = useRef(/** @type {any} */ (null));
  useEffect(() => field.current.focus(), []);
  const submit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (key.trim()) setKey(key.trim());
  };
  return html`<main class="login"><form onSubmit=${submit}>
    <h1 tabindex="-1">JobQueue</h1>
    <p>This server asks for a key. It is kept in this tab alone, until the tab is closed.</p>
    ${why && html`<p class="error" role="alert">The server refused the key: ${why}</p>`}
    <label>API key or token <input type="password" name="key" ref=${field} autocomplete="off" spellcheck=${false} value=${key}
      onInput=${(/** @type {any} */ event) => set(event.target.value)} /></label>
    <div class="buttons"><button type="submit" class="primary">Sign in</button></div>
    <p class="dim">An operator makes one that can read by <code>jobqueue keys create NAME --read '*'</code></p>
  </form></main>`;
}

function Head() {
  const { path } = usePlace();
  const { access, readOnly } = useAuth();
  return html`<header>
    <a class="skip" href="#main" onClick=${(/** @type {Event} */ event) => (event.preventDefault(), document.querySelector("h1")?.focus())}>To the content</a>
    <nav aria-label="Pages">
      <span class="brand" aria-hidden="true">JobQueue</span>
      ${NAVIGATION.map((each) => {
        const page = PAGES.find(([pattern]) => pattern === each);
        const active = each === "" ? path === "" : path === each || path.startsWith(`${each}/`);
        const shown = page && mayRead(access, each);
        return shown && html`<${Link} key=${each} to=${url(each)} aria-current=${active ? "page" : undefined}>${page[1]}<//>`;
      })}
    </nav>
    <div class="who">
      ${readOnly && html`<span class="label" title="Nothing can be changed here">read only</span>`}
      ${access && html`<span title=${`namespace ${access.namespace}`}>${access.principal}</span>`}
      ${getKey() && html`<button type="button" class="small" onClick=${() => setKey("")}>Sign out</button>`}
    </div>
  </header>`;
}

function Away() {
  const { lostAt, silent } = useConnection();
  const now = useNow();
  if (!lostAt) return null;
  const age = duration(Math.max(1, Math.round((now - lostAt) / 1000)));
  // What is read aloud is the first sentence alone: it does not change each second.
  return html`<${Band} tone="bad"><span role="status">${silent ? "No answer from the server, trying again." : "No server, trying again."}</span>${" "}
    ${silent && html`It has said nothing since <${Time} at=${new Date(lostAt).toISOString()} full />. `}What is shown is ${age} old.<//>`;
}

function App() {
  const { wanted, turn } = useAuth();
  const { lostAt } = useConnection();
  const access = useData(wanted ? null : "v1/access", { every: 60_000, read: call });
  useEffect(() => {
    if (access.data) setAccess(access.data);
  }, [access.data]);
  if (wanted) return html`<${Login} key=${turn} />`;
  return html`<${Live}><${Head} />
    <main id="main" class=${lostAt ? "stale" : ""}><${Away} /><${Page} key=${turn} /></main>
    <${Said} /><${Keys} /><//>`;
}

apply();
const root = /** @type {HTMLElement} */ (document.getElementById("app"));
root.textContent = "";
render(html`<${App} />`, root);
