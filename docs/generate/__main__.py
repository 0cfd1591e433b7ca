"""`python -m docs.generate`: write the pages that are made from the code."""

import sys

from docs.generate import DOCS, pages

for path, text in pages().items():
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    sys.stdout.write(f"docs/{path.relative_to(DOCS)}\n")
