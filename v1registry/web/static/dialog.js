// Links and forms with `data-dialog` lead to a confirmation page. Its form opens in a dialog instead.

// `enhance(element)` is called with a new <main>.
export function dialogs(root, enhance) {
  for (const link of root.querySelectorAll("a[data-dialog]")) {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(enhance, link.href).catch(() => location.assign(link.href));
    });
  }
  for (const form of root.querySelectorAll("form[data-dialog]")) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const fields = new URLSearchParams(new FormData(form, event.submitter));
      open(enhance, form.action, fields).catch(() => form.submit());
    });
  }
}

// `body`: fields to post, for a page that asks about a selection.
async function open(enhance, url, body) {
  const response = await fetch(url, body ? { method: "POST", body } : {});
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const question = page.getElementById("confirm");
  if (question !== null) {
    show(question);
    return;
  }
  const main = page.querySelector("main"); // an error, or a message
  document.querySelector("main").replaceWith(main);
  if (response.redirected) history.replaceState(null, "", response.url);
  enhance(main);
  main.focus();
}

function show(content) {
  const dialog = document.createElement("dialog");
  const title = content.querySelector("h1");
  title.id = "dialog-title";
  dialog.setAttribute("aria-labelledby", title.id);
  dialog.append(content);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
