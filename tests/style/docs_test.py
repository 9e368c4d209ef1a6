"""Every file that README.md and docs/ name is there."""
import pathlib
import re
import shutil
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
MENTION = re.compile(r"`((?:admin|base|bench|cmake|crypto|deploy|docs|net|notify|oauth|policy|proxy|server|tests|vault)/[\w./*-]*)`")

METHODS = {"server/discover"}  # of MCP, that look like paths


def missing(root):
    """What pages name and is not there: links, and paths in `code`, where `proxy/redact` stands for its sources or tests."""
    found, named = [], 0
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        text = page.read_text(encoding="utf-8")
        wanted = [(page.parent, name) for name in LINK.findall(text) if "://" not in name]
        wanted += [(root, name) for name in MENTION.findall(text) if name not in METHODS]
        named += len(wanted)
        for folder, name in wanted:
            forms = [name.rstrip("/") + ending for ending in ("", ".h", ".cpp")] + [f"tests/{name}_test.cpp"]
            if not any(any(folder.glob(form)) for form in forms):
                found.append(f"{page.relative_to(root)}: {name}")
    return found, named


class Docs(unittest.TestCase):
    def test_every_file_that_is_named_exists(self):
        found, named = missing(ROOT)
        self.assertEqual(found, [])
        self.assertGreater(named, 100)

    def test_one_that_does_not_is_found(self):
        root = pathlib.Path(tempfile.mkdtemp(prefix="claviger-docs-"))
        self.addCleanup(shutil.rmtree, root)
        (root / "docs/more").mkdir(parents=True)
        (root / "proxy").mkdir()
        (root / "proxy/redact.h").write_text("")
        (root / "README.md").write_text("[good](docs/page.md) [bad](docs/none.md#part) [web](https://example.com/none)")
        (root / "docs/page.md").write_text("[up](../README.md) [more](more/) `proxy/redact` `proxy/reduct` `docs/7_none.md` `proxy/*.h`")
        self.assertEqual(missing(root)[0], ["README.md: docs/none.md", "docs/page.md: proxy/reduct", "docs/page.md: docs/7_none.md"])


if __name__ == "__main__":
    unittest.main()
