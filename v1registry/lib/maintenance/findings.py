"""What `verify` can find: a stable code for each kind of damage, with its severity and its repair.

docs/maintenance.md has the same table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding. `repair` says what `--repair` does; it is empty if it does nothing."""

    severity: Severity
    meaning: str
    repair: str = ""


_RESTORE = "writes it as it was pushed, if the commit record and the layer prove it"
_CHAIN = "writes it anew from the parents, if no id gets lost"

CODES: dict[str, Code] = {
    "image-id-invalid": Code("warning", "An entry of `images` has a name that is no image id."),
    "json-missing": Code("error", "An image has a layer and no image JSON.", _RESTORE),
    "json-invalid": Code("error", "An image JSON is damaged or no JSON object.", _RESTORE),
    "json-id": Code("error", "An image JSON contains the id of another image.", _RESTORE),
    "json-changed": Code("error", "An image JSON is not the one that was pushed.", _RESTORE),
    "parent-invalid": Code("error", "The parent in an image JSON is no image id.", _RESTORE),
    "parent-missing": Code("error", "The parent of an image is missing or not complete."),
    "parent-loop": Code("error", "The parents of an image form a loop."),
    "ancestry-missing": Code("warning", "An image has no ancestry.", _CHAIN),
    "ancestry-invalid": Code("error", "An ancestry is no JSON array of image ids.", _CHAIN),
    "ancestry-differs": Code("error", "An ancestry differs from the parents.", _CHAIN),
    "checksum-invalid": Code("warning", "A file `_checksum` contains no checksums.", _RESTORE),
    "checksum-changed": Code("error", "Checksums are not those that were pushed.", _RESTORE),
    "layer-missing": Code("error", "An image has no layer."),
    "layer-size": Code("error", "A layer has not as many bytes as were pushed."),
    "layer-damaged": Code("error", "A layer is truncated or cannot be unpacked."),
    "checksum-mismatch": Code("error", "A layer does not match its checksum."),
    "chain-id": Code(
        "warning", "A layer without a checksum does not match the chain id that is its image's id."
    ),
    "commit-invalid": Code("warning", "A commit record is damaged."),
    "commit-unfinished": Code("warning", "A commit was interrupted.", "completes it"),
    "upload-unfinished": Code("warning", "An upload never ended; `gc` deletes it."),
    "push-abandoned": Code("warning", "A push was abandoned.", "deletes what it has staged"),
    "push-remains": Code("info", "A completed push left notes behind.", "deletes them"),
    "metadata-orphaned": Code("info", "Metadata of an image that is gone.", "deletes it"),
    "metadata-invalid": Code("warning", "Layer metadata is damaged.", "computes it anew"),
    "metadata-differs": Code(
        "warning", "Layer metadata disagrees with the layer.", "computes it anew"
    ),
    "listing-invalid": Code("warning", "A list of a layer's files is damaged.", "deletes it"),
    "reference-invalid": Code("warning", "A repository reference is damaged.", "deletes it"),
    "reference-stale": Code("info", "No tag of the repository leads to the image.", "deletes it"),
    "reference-missing": Code("warning", "A repository reference is missing.", "writes it"),
    "repository-name-invalid": Code("warning", "No client can ask for a repository of this name."),
    "repository-twice": Code(
        "warning",
        "A repository has a second folder, in the encoding of 0.8.0.",
        "moves the files that do not contradict each other",
    ),
    "repository-json-invalid": Code(
        "warning", "The metadata of a repository is damaged.", "deletes it"
    ),
    "tag-name-invalid": Code("warning", "No client can ask for a tag of this name."),
    "tag-unreadable": Code("error", "A tag contains no image id."),
    "tag-dangling": Code("error", "A tag points to an image that is missing or not complete."),
    "tag-twice": Code(
        "warning",
        "A tag has a second file, in the encoding of 0.8.0.",
        "deletes it, if both name the same image",
    ),
    "tag-metadata-orphaned": Code("info", "Metadata of a tag that is gone.", "deletes it"),
    "tag-metadata-invalid": Code("warning", "The metadata of a tag is damaged.", "deletes it"),
    "list-invalid": Code("error", "An image list is damaged.", "writes it anew from the tags"),
    "list-entry-invalid": Code("warning", "An entry of an image list is damaged.", "deletes it"),
    "members-invalid": Code("warning", "The ids that an index listed are damaged."),
    "digest-orphaned": Code("info", "A digest of an image that is gone.", "deletes it"),
    "digest-invalid": Code("warning", "An entry of the digest index has no valid name."),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One damaged object. `object` is its key; `detail` is empty or says more than the code does."""

    code: str
    object: str
    detail: str = ""
    fixable: bool = False

    @property
    def severity(self) -> Severity:
        return CODES[self.code].severity

    @property
    def explanation(self) -> str:
        """One sentence, with the detail."""
        meaning = CODES[self.code].meaning
        return f"{meaning[:-1]}: {self.detail}." if self.detail else meaning

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "object": self.object,
            "explanation": self.explanation,
            "fixable": self.fixable,
        }
