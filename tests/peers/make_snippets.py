"""What Jinja2, set up as Transformers does it, writes with the snippets of a table: writes the table anew.

    python make_snippets.py ../../crates/mpo-data/src/template/snippets.json

The table has pairs of a source and what it writes of `MESSAGES`, or null where it is refused: by Jinja2, or here, where the
table has null already. Add a pair with any text for a new snippet. Needs jinja2 alone.
"""

import json
import pathlib
import sys

from make_templates import render

MESSAGES = [
    {"role": "user", "content": "How do I bake bread?"},
    {"role": "assistant", "content": " With\n\nflour. "},
    {"role": "user", "content": "আর জল?"},
]


def written(source, known):
    if known is None:
        return None
    try:
        return render(source, MESSAGES, None, True, {})
    except Exception:  # whatever it is, nothing must be written here either
        return None


def main(path):
    path = pathlib.Path(path)
    table = json.loads(path.read_text(encoding="utf-8"))
    lines = [json.dumps([source, written(source, known)], ensure_ascii=False) for source, known in table]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


main(sys.argv[1])
