#!/bin/bash
# The lint finds every planted fault of the fixture, and nothing else there.
cd "$(dirname "$0")" || exit 1
for check in levels headers places sizes; do
    python3 lint.py "$check" --root fixture | grep -v '^nothing found$'
done | diff fixture/expected.txt - && echo "every planted fault was found"
