from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from comptroller.adapters.policy.editing import replace_file
from comptroller.bootstrap.promoting import Promotion, promotion
from comptroller.core.errors import ConflictError, NotFoundError
from comptroller.core.policy.rules import Mode

HEAD = """\
apiVersion: comptroller.policy/v1
kind: PolicySet
metadata: {name: acme, owner: ada}
allow:
  - {id: all, models: ["*"]}
"""
BLOCK = (
    HEAD
    + """\
rules:   # é
  - id: first                # mode: audit
    mode: audit              # until the end of the quarter: see "mode: warn"
    deny_if: "request.choices > 4 && request.model != 'mode: audit'"
  - id: second
    deny_if: request.choices > 5
    mode: audit
"""
)


def promoted(
    folder: Path, text: str | bytes, rule: str = "first", mode: Mode = Mode.ENFORCE
) -> Promotion:
    file = folder / "acme.policy.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = promotion([folder], rule, mode)
    assert isinstance(found, Promotion)
    return found


def test_only_the_word_after_the_key_changes(tmp_path: Path) -> None:
    """Comments, other rules and texts that look alike stay to the byte."""
    found = promoted(tmp_path, BLOCK)
    found.write()

    written = (tmp_path / "acme.policy.yaml").read_text()
    assert written == BLOCK.replace("    mode: audit   ", "    mode: enforce   ")
    assert (found.mode_before, found.mode) == (Mode.AUDIT, Mode.ENFORCE)


FORMS = {
    "flow": '  - {id: first, deny_if: "request.choices > 4", mode: audit}\n',
    "flow before": "  - {mode: audit, id: first, deny_if: request.choices > 4}\n",
    "single quotes": "  - {id: first, 'mode': 'audit', deny_if: request.choices > 4}\n",
    "double quotes": '  - {"id": "first", "mode" : "audit", deny_if: request.stream}\n',
    "first key": "  - mode: audit\n    id: first\n    deny_if: request.stream\n",
    "last line": "  - id: first\n    deny_if: request.stream\n    mode: audit",
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_mode_is_found_however_it_is_written(tmp_path: Path, form: str) -> None:
    """In flow style and in blocks, quoted or not, wherever in the rule."""
    text = f"{HEAD}rules:\n{FORMS[form]}"

    promoted(tmp_path, text).write()

    written = (tmp_path / "acme.policy.yaml").read_text()
    assert written == text.replace("audit", "enforce")


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_marks_of_other_systems_stay(
    tmp_path: Path, prefix: bytes
) -> None:
    """What an editor on another system wrote is not converted."""
    text = prefix + BLOCK.replace("\n", "\r\n").encode()

    promoted(tmp_path, text, "second", Mode.WARN).write()

    before, _, after = text.rpartition(b"audit")
    assert (tmp_path / "acme.policy.yaml").read_bytes() == before + b"warn" + after


UNSAFE = {
    "alias": "  - {id: zero, mode: &m audit, deny_if: request.stream}\n"
    "  - {id: first, mode: *m, deny_if: request.choices > 4}\n",
    "anchor": "  - {id: first, mode: &m audit, deny_if: request.choices > 4}\n"
    "  - {id: zero, mode: *m, deny_if: request.stream}\n",
    "next line": "  - id: first\n    deny_if: request.stream\n    mode:\n      audit\n",
    "escaped": '  - {id: first, deny_if: request.stream, mode: "aud\\u0069t"}\n',
}


@pytest.mark.parametrize("form", sorted(UNSAFE))
def test_what_cannot_be_changed_alone_is_left_to_people(
    tmp_path: Path, form: str
) -> None:
    """An anchor's value is another rule's, too."""
    with pytest.raises(ConflictError, match="by hand"):
        promoted(tmp_path, f"{HEAD}rules:\n{UNSAFE[form]}")


def test_every_kind_of_part_with_a_mode_can_be_promoted(tmp_path: Path) -> None:
    """Ceilings, environment tables and prompt restrictions as well."""
    text = HEAD + (
        "ceilings: [{id: c, max_output_tokens: 5, mode: audit}]\n"
        'environments: [{id: e, models: {"*": [x]}, mode: audit}]\n'
        "prompts: [{id: p, max_bytes: 5, mode: audit}]\n"
    )

    for rule in "cep":
        promoted(tmp_path, text, rule).write()
        text = (tmp_path / "acme.policy.yaml").read_text()

    assert text.count("mode: enforce") == 3


@pytest.mark.parametrize(
    ("rule", "mode", "error"),
    [
        ("third", Mode.ENFORCE, NotFoundError),
        ("all", Mode.ENFORCE, ConflictError),
        ("second", Mode.AUDIT, ConflictError),
    ],
)
def test_what_cannot_be_promoted_is_said(
    tmp_path: Path, rule: str, mode: Mode, error: type[Exception]
) -> None:
    """No such part, a part without modes, and the mode that it has already."""
    with pytest.raises(error):
        promoted(tmp_path, BLOCK, rule, mode)


def test_a_rule_without_a_mode_is_enforced_already(tmp_path: Path) -> None:
    """To be enforced is what holds unless a mode is set."""
    with pytest.raises(ConflictError, match="already"):
        promoted(tmp_path, BLOCK.replace("    mode: audit\n", ""), "second")


def test_a_file_that_was_changed_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Somebody's work of a moment ago is not lost."""
    found = promoted(tmp_path, BLOCK)
    (tmp_path / "acme.policy.yaml").write_text("other")

    with pytest.raises(ConflictError, match="meanwhile"):
        found.write()

    assert (tmp_path / "acme.policy.yaml").read_text() == "other"


def test_a_link_stays_a_link_and_a_file_keeps_its_rights(tmp_path: Path) -> None:
    """The file behind it is replaced, with the permissions that it had."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"before")
    real.chmod(0o640)
    link.symlink_to(real)

    replace_file(link, b"before", b"after")

    assert link.is_symlink()
    assert real.read_bytes() == b"after"
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link", "real"]


def test_of_two_at_once_neither_is_lost(tmp_path: Path) -> None:
    """Who is told that it was written finds it in the file."""
    file = tmp_path / "file"
    file.write_bytes(b"")

    def add(name: int) -> list[bytes]:
        written = []
        for number in range(150):
            before, mine = file.read_bytes(), b"%d-%d;" % (name, number)
            try:
                replace_file(file, before, before + mine)
            except ConflictError:
                continue
            written.append(mine)
        return written

    with ThreadPoolExecutor(4) as threads:
        written = [one for found in threads.map(add, range(4)) for one in found]

    assert written
    assert sorted(file.read_bytes().split(b";")[:-1]) == sorted(
        one.rstrip(b";") for one in written
    )


def test_what_a_killed_promotion_left_is_said(tmp_path: Path) -> None:
    """It may be another one that is under way, so it is not removed."""
    file, draft = tmp_path / "file", tmp_path / ".file.new"
    file.write_bytes(b"before")
    draft.write_bytes(b"half")

    with pytest.raises(ConflictError, match=r"remove .*/\.file\.new"):
        replace_file(file, b"before", b"after")

    assert (file.read_bytes(), draft.read_bytes()) == (b"before", b"half")
