"""Writes tests/data/chat/renders.json: what the built-in chat templates make of a set of conversations.

    python tests/goldens/make_templates.py CHAT_TEMPLATES.json

CHAT_TEMPLATES.json holds conversations and the reference's renderings, each a text or an error. To stay small,
a text is kept as its FNV-1a hash; an error that the template raises itself as its message, any other as null.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
OUT = HERE.parent / "data" / "chat" / "renders.json"


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = (h ^ b) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def main():
    golden = json.loads(pathlib.Path(sys.argv[1]).read_text())
    cases, answers = [], {}
    for r in golden["renders"]:
        case = [r["conversation"], r["kwargs"]]
        if case not in cases:
            cases.append(case)
        if "output" in r:
            answer = {"hash": fnv1a(r["output"])}
        else:
            answer = {"raised": r["error"]["message"]} if r["error"]["type"] == "TemplateError" else None
        answers.setdefault(r["template"], [None] * 33)[cases.index(case)] = answer
    out = {
        "special_tokens": golden["meta"]["special_tokens"],
        "conversations": golden["conversations"],
        "cases": cases,
        "answers": answers,
    }
    text = json.dumps(out, ensure_ascii=False)
    OUT.write_text(text.replace('"answers"', '\n"answers"').replace('}], "', '}],\n"') + "\n")


main()
