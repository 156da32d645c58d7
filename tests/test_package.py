"""What `import hushpost` gives, and what it costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hushpost


def test_everything_that_is_promised_is_there() -> None:
    assert {name: getattr(hushpost, name).__name__ for name in hushpost.__all__ if name != "__version__"} == {
        name: name for name in hushpost.__all__ if name != "__version__"
    }


def test_one_version_everywhere() -> None:
    root = Path(__file__).parents[1]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    newest = re.findall(r"^## ([0-9.]+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[0]
    assert hushpost.__version__ == declared == newest


def test_nothing_else_is() -> None:
    with pytest.raises(AttributeError, match="Nobody"):
        getattr(hushpost, "Nobo" + "dy")


def test_the_package_alone_loads_nothing_heavy() -> None:
    code = "import sys, hushpost; print(sorted({*sys.modules} & {'asyncio', 'vodozemac', 'cryptography'}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
