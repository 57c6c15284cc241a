// Long work: asks `data-progress` for {"done", "total", "text", "is_finished", "next"}.

const PAUSE = 1000; // milliseconds
const LONGEST_PAUSE = 15000;

export function progress(root) {
  for (const box of root.querySelectorAll("[data-progress]")) {
    follow(box);
  }
}

async function follow(box) {
  const bar = box.querySelector("progress");
  const text = box.querySelector("[role=status]");
  let pause = PAUSE;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pause));
    try {
      const response = await fetch(box.dataset.progress, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(response.statusText);
      const state = await response.json();
      pause = PAUSE;
      if (state.total) {
        bar.max = state.total;
        bar.value = state.done;
      }
      if (text.textContent !== state.text) text.textContent = state.text;
      if (state.is_finished) {
        location.assign(state.next || location.href);
        return;
      }
    } catch {
      pause = Math.min(2 * pause, LONGEST_PAUSE);
    }
  }
}
