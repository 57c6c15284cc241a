// Forms with `data-live`: while the user types, the element with that id shows the results.

const PAUSE = 200; // milliseconds after the last key

// `enhanceResults(element)` is called with new results.
export function liveSearch(root, enhanceResults) {
  for (const form of root.querySelectorAll("form[data-live]")) {
    enhance(form, enhanceResults);
  }
}

function enhance(form, enhanceResults) {
  let timer;
  let request;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(show, PAUSE);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(timer);
    show();
  });

  async function show() {
    request?.abort();
    request = new AbortController();
    const fields = [...new FormData(form)].filter(([, value]) => value !== "");
    const query = new URLSearchParams(fields).toString();
    const url = form.action + (query && `?${query}`);
    try {
      const response = await fetch(url, { signal: request.signal });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const results = page.getElementById(form.dataset.live);
      if (!response.ok || results === null) {
        location.assign(url);
        return;
      }
      document.getElementById(form.dataset.live).replaceWith(results);
      enhanceResults(results);
      history.replaceState(null, "", url);
    } catch (error) {
      if (error.name !== "AbortError") location.assign(url);
    }
  }
}
