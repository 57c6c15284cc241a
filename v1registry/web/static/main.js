// Enhances the pages. Each works without it.
import { again } from "./again.js";
import { copyButtons } from "./copy.js";
import { dialogs } from "./dialog.js";
import { liveSearch } from "./search.js";
import { progress } from "./progress.js";
import { selectAll } from "./select.js";

// Also for parts of a page that are fetched later.
function enhance(root) {
  copyButtons(root);
  dialogs(root, enhance);
  selectAll(root);
}

enhance(document);
liveSearch(document, enhance);
progress(document);
again(enhance);
