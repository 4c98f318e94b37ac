"""Writes tests/data/jinja/more.json: templates with what jinja2 makes of them in transformers' environment.

    python tests/goldens/make_jinja.py [OUT]

Needs jinja2 3.1. The environment is set up as transformers' chat templates use it: immutable sandbox,
trim_blocks, lstrip_blocks, loop controls, the generation tag, its own tojson, raise_exception and
strftime_now (with a fixed clock).
"""
import datetime
import json
import pathlib
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
CLOCK = datetime.datetime(2025, 3, 9, 14, 5, 0)


class Generation(Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_keep"), [], [], body).set_lineno(lineno)

    @jinja2.pass_eval_context
    def _keep(self, context, caller):
        return caller()


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = CLOCK.strftime
    return env


SOURCES = (HERE / "jinja_sources.txt").read_text().split("\n----\n")


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parent / "data" / "jinja" / "more.json"
    context = json.loads((HERE.parent / "data" / "jinja" / "snippets.json").read_text())["context"]
    env = environment()
    snippets = []
    for source in SOURCES:
        record = {"source": source}
        try:
            record["output"] = env.from_string(record["source"]).render(**context)
        except Exception as error:  # any failure of the peer is a case
            record["error"] = {"type": type(error).__name__, "message": str(error)}
        snippets.append(record)
    out.write_text(json.dumps({"context": context, "snippets": snippets}, ensure_ascii=False, indent=0))


main()
