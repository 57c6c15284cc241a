// Buttons that copy the text in `data-copy`. They stay hidden if the browser has no clipboard.

export function copyButtons(root) {
  for (const button of root.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", () => copy(button));
  }
}

async function copy(button) {
  const isCopied = await write(button.dataset.copy);
  button.classList.toggle("is-done", isCopied);
  setTimeout(() => button.classList.remove("is-done"), 1500);
}

async function write(text) {
  try {
    await navigator.clipboard.writeText(text); // missing on plain HTTP
    return true;
  } catch {
    return select(text);
  }
}

function select(text) {
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "sr";
  document.body.append(area);
  area.select();
  try {
    return document.execCommand("copy");
  } finally {
    area.remove();
  }
}
