"""Whether transformers reads a saved model directory as axl-dist does (needs transformers; no torch).

usage: check_vocabulary.py AXL_DIST DIR [TEXT...]

Compares length, ids of all added tokens, encodings of the texts and a rendered conversation of DIR as AutoTokenizer
and as `axl-dist tokenize` and `render` read it, and the sizes in config.json. Prints what it compared; exits 1 on a
difference.
"""

import json
import subprocess
import sys

from transformers import AutoTokenizer

MESSAGES = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi."}]


def lines(program, command, directory, records, *options):
    done = subprocess.run([program, command, directory, *options], input="".join(json.dumps(r) + "\n" for r in records),
                          stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def main():
    program, directory, texts = sys.argv[1], sys.argv[2], sys.argv[3:]
    t = AutoTokenizer.from_pretrained(directory)
    added = t.get_added_vocab()
    texts += list(added) + [" ".join(added), "x".join(added) + "\n\n The end."]
    wrong = 0
    for special in (False, True):
        got = lines(program, "tokenize", directory, texts, *([] if special else ["--no-special"]))
        for text, g in zip(texts, got):
            want = t(text, add_special_tokens=special)["input_ids"]
            if want != g["ids"]:
                wrong += 1
                print(f"{text!r}: {g['ids']}, transformers gives {want}")
    if t.chat_template is not None:
        want = t.apply_chat_template(MESSAGES, tokenize=False)
        got = lines(program, "render", directory, [{"messages": MESSAGES}])[0].get("text")
        if want != got:
            wrong += 1
            print(f"rendered: {got!r}, transformers gives {want!r}")
    with open(directory + "/config.json") as f:
        config = json.load(f)
    if config["vocab_size"] < len(t):
        wrong += 1
        print(f"vocab_size {config['vocab_size']} is less than {len(t)} tokens")
    for name in ("bos", "eos", "pad"):
        want, got = getattr(t, name + "_token_id"), config.get(name + "_token_id")
        if want is not None and got is not None and want != got and not (isinstance(got, list) and want in got):
            wrong += 1
            print(f"{name}_token_id {got}, transformers gives {want}")
    print(f"{directory}: {len(t)} tokens, {len(added)} added, {len(texts)} texts, special {t.special_tokens_map}, "
          f"extra {t.extra_special_tokens}, template {'yes' if t.chat_template else 'no'}: {wrong} differences")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
