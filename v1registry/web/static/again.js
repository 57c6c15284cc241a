// An element with `data-again` was not complete in time: the page is fetched again for its rest.

const PAUSE = 300; // milliseconds
const MOST = 30; // times

export async function again(enhance) {
  for (let count = 0; count < MOST; count += 1) {
    const late = document.querySelector("[data-again]");
    if (late === null) return;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    try {
      const response = await fetch(location.href);
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const found = page.getElementById(late.id);
      if (!response.ok || found === null || late.contains(document.activeElement)) return;
      late.replaceWith(found);
      enhance(found);
    } catch {
      return;
    }
  }
}
