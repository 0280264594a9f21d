"""What Jinja2, set up as Transformers does it, writes with every chat template of a folder.

    python make_templates.py FOLDER > templates.json
    MPO_TEMPLATES=templates.json cargo test --release -p mpo-data jinja2 -- --ignored --nocapture

FOLDER holds `.jinja` files, such as those of models on the hub. Needs jinja2 alone.
"""

import datetime
import itertools
import json
import pathlib
import sys

import jinja2
import jinja2.ext
import jinja2.sandbox

TOKENS = {
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "additional_special_tokens": ["<x>", "<y>"],
}
NOW = datetime.datetime(2024, 7, 26)


class Generation(jinja2.ext.Extension):
    """`{% generation %}`, which marks the assistant's part and writes nothing."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = NOW.strftime
    return env


def say(role, content):
    return {"role": role, "content": content}


CONVERSATIONS = [
    [say("user", "How do I bake bread?")],
    [say("system", "Be kind."), say("user", "  Karibu!\n")],
    [
        say("user", "One <b> & 'two' \"three\""),
        say("assistant", " Four\n\nfive. "),
        say("user", "আপনি কেমন আছেন? {{ x }} {% y %}"),
    ],
    [
        say("system", "Answer\nbriefly. "),
        say("user", "6"),
        say("assistant", "<think>\nWell.\n</think>\n\n7"),
        say("user", "8"),
        say("assistant", "nine"),
    ],
    [say("user", "Twice."), say("user", "In a row.")],
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather, <now> & here.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "Where"},
                    "unit": {"type": "string", "enum": ["C", "F"], "default": "C"},
                },
                "required": ["place"],
            },
        },
    }
]
ARGUMENTS = [{}, {"enable_thinking": False}]


def cases():
    for messages, prompt, arguments in itertools.product(CONVERSATIONS, [True, False], ARGUMENTS):
        yield messages, None, prompt, arguments
    for messages in CONVERSATIONS[:2]:
        yield messages, TOOLS, True, {}


def render(source, messages, tools, prompt, arguments):
    variables = {
        **TOKENS,
        "messages": messages,
        "tools": tools,
        "documents": None,
        "add_generation_prompt": prompt,
        **arguments,
    }
    return environment().from_string(source).render(**variables)


def main(folder):
    templates = []
    for path in sorted(pathlib.Path(folder).glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        written = []
        for messages, tools, prompt, arguments in cases():
            case = {
                "messages": messages,
                "tools": tools,
                "add_generation_prompt": prompt,
                "arguments": arguments,
            }
            try:
                case["text"] = render(source, messages, tools, prompt, arguments)
            except Exception as error:  # whatever it is, we must not write anything either
                case["error"] = f"{type(error).__name__}: {error}"
            written.append(case)
        templates.append({"file": path.name, "source": source, "cases": written})
    json.dump({"tokens": TOKENS, "templates": templates}, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    main(sys.argv[1])
