import ast
import re
from pathlib import Path

from comptroller.engine.controls import CONTROL_OF, CONTROLS

ROOT = Path(__file__).parents[3]
ROW = re.compile(r"^\| `(\w+)` \| (\d{3}) \|", re.MULTILINE)
ENDS = ("revoked", "expired", "not_valid_yet")


def calls(name: str) -> list[ast.Call]:
    """Every call of a name in the program."""
    return [
        node
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and called(node) == name
    ]


def called(node: ast.Call) -> str:
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def named_constants() -> dict[str, object]:
    """What public constants stand for: a code may have a name."""
    return {
        node.target.id: node.value.value
        for path in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and re.fullmatch("[A-Z][A-Z_]+", node.target.id)
        and isinstance(node.value, ast.Constant)
    }


NAMED = named_constants()


def constants(node: ast.Call) -> list[object]:
    return [
        one.value if isinstance(one, ast.Constant) else NAMED[one.id]
        for one in node.args
        if isinstance(one, ast.Constant)
        or (isinstance(one, ast.Name) and one.id in NAMED)
    ]


def codes_of_the_program() -> dict[str, int]:
    """Every code with its status, as the program constructs them."""
    found = {f"credential_{how}": 401 for how in ENDS}
    for node in calls("Refusal"):
        status, code, *_ = [*constants(node), None, None]
        if isinstance(status, int) and isinstance(code, str):
            # A code that is put together leaves the message in its place.
            found.update({code: status} if code.islower() and " " not in code else {})
    for name in ("UpstreamFailure", "_fail"):
        for node in calls(name):
            for code in constants(node)[:1]:
                found[f"upstream_{code}"] = 504 if code == "timeout" else 502
    return found


def test_every_refusal_is_on_its_page_with_its_status() -> None:
    """docs/reference/refusals.md lists the program's codes, all and no others."""
    page = (ROOT / "docs" / "reference" / "refusals.md").read_text()

    listed = {code: int(status) for code, status in ROW.findall(page)}

    assert listed == codes_of_the_program()
    assert len(listed) > 25


def test_every_control_is_on_the_page_with_its_codes() -> None:
    """The page's table of controls says what the program's map says."""
    page = (ROOT / "docs" / "reference" / "refusals.md").read_text()

    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (`.*) \|$", page, re.MULTILINE)
    listed: dict[str, str] = {}
    for name, codes in rows:
        for code in re.findall(r"\w+", codes):
            # A policy denies by several controls; the map names the first.
            listed.setdefault(code, name)

    assert listed == CONTROL_OF
    named = re.findall(
        r"^\| `(\w+)` \| whether|^\| `(\w+)` \| what", page, re.MULTILINE
    )
    assert [one or other for one, other in named] == list(CONTROLS)
