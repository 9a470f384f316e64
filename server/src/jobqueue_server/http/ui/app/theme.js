// Before anything is drawn, so that the page does not flash: the scheme that was chosen here, or that of the system.
// A classic script, because modules run after the first paint.
(() => {
  try {
    const scheme = localStorage.getItem("jobqueue.scheme");
    if (scheme === "light" || scheme === "dark") document.documentElement.dataset["scheme"] = scheme;
  } catch {
    // Storage is turned off: the system's scheme stays.
  }
})();
