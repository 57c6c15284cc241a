// Enhances the pages. Each works without it.
import { copyButtons } from "./copy.js";
import { dialogs } from "./dialog.js";
import { liveSearch } from "./search.js";
import { progress } from "./progress.js";

copyButtons(document);
dialogs(document);
liveSearch(document);
progress(document);
