// A checkbox with `data-all` selects all checkboxes of that name in its form.

export function selectAll(root) {
  for (const all of root.querySelectorAll("input[data-all]")) {
    const boxes = [...all.form.querySelectorAll(`input[name="${all.dataset.all}"]`)];
    all.hidden = false;
    all.addEventListener("change", () => boxes.forEach((box) => (box.checked = all.checked)));
    all.form.addEventListener("change", () => {
      const chosen = boxes.filter((box) => box.checked).length;
      all.checked = chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    });
  }
}
