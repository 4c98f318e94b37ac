#!/usr/bin/env python3
"""What the compiler made of products of warpgroups, on every path of the machine code: test_sass.py OBJECT...

A product has its registers from its issue to a wait; the emulation sees that the source keeps to this, not that the
compiler does. Needs cuobjdump (PATH, or CUOBJDUMP); skipped without it.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

OBJECTS = sys.argv[1:]
TOOL = os.environ.get("CUOBJDUMP") or shutil.which("cuobjdump")
SOURCES = ("ST", "LDGSTS", "RED", "BAR", "BRA", "ISETP", "FSETP", "R2UR", "PLOP")  # the first operand is not written
RUNNING = 4  # groups of products under way at once, at most


class Instruction:
    def __init__(self, at, text):
        self.at, self.text = at, text
        m = re.match(r"@(!?U?P\w+)\s+(.*)", text)
        self.predicate, body = (m[1], m[2]) if m else (None, text)
        self.name = body.split()[0]
        operands = [o.strip() for o in body[len(self.name):].split(",")]
        m = re.search(r"\b(0x[0-9a-f]+)$", body)
        self.target = int(m[1], 16) if m and self.name.startswith("BRA") else None
        self.always = self.predicate is None and not re.match(r"!?U?P\d", operands[0])
        wide = 4 if ".128" in self.name else 2 if re.search(r"\.64(\b|\.)|\.WIDE", self.name) else 1
        written = not self.name.startswith(SOURCES)
        self.writes = self.registers(operands[0], wide) if written else frozenset()
        self.reads = frozenset().union(*(self.registers(o, 1) for o in operands[1 if written else 0:]))
        if self.name.startswith("ST"):
            self.reads |= self.registers(operands[-1], wide)
        m = re.search(r"WARPGROUP\.DEPBAR\S* gsb0, (0x[0-9a-f]+)", body)
        self.left = int(m[1], 16) if m else None  # groups that a wait leaves
        self.d = self.a = frozenset()
        if self.name.startswith("HGMMA"):
            columns, first = int(re.match(r"HGMMA\.64x(\d+)", self.name)[1]), int(operands[0][1:])
            self.d = frozenset(range(first, first + columns // 2))
            m = re.fullmatch(r"R(\d+)", operands[1])
            self.a = frozenset(range(int(m[1]), int(m[1]) + 4)) if m else frozenset()
            self.commits = "gsb0" in body

    @staticmethod
    def registers(operand, wide):
        return frozenset(int(r) + i for r in re.findall(r"(?<![A-Z])R(\d+)", operand) for i in range(wide))


class Kernel:
    def __init__(self, name):
        self.name, self.code = name, []

    def next(self, i):
        x = self.code[i]
        if x.name == "EXIT" and x.predicate is None:
            return []
        after = [i + 1] if i + 1 < len(self.code) else []
        if x.target is None:
            return after
        return [self.place[x.target]] + ([] if x.always else after)

    def reach(self, start):
        seen, left = set(), [start]
        while left:
            i = left.pop()
            if i not in seen:
                seen.add(i)
                left += self.next(i)
        return seen

    def onward(self, i, n_groups):
        """Where it goes on with so many groups under way. A wait that the source may leave out is left out where nothing
        is under way: that it is so in the source the emulation sees."""
        x, places = self.code[i], self.next(i)
        if x.target is None or x.always or self.place[x.target] <= i:
            return places
        waits = [y.left for y in self.code[i + 1:self.place[x.target]] if y.left is not None]
        return places[1:] if waits and min(waits) < n_groups else places

    def meanwhile(self):
        """Touches registers that a product has."""
        faults, seen, left, none = set(), set(), [(0, (), (frozenset(), frozenset()))], (frozenset(), frozenset())
        while left:
            i, groups, last = left.pop()
            if (i, groups, last) in seen:
                continue
            seen.add((i, groups, last))
            x = self.code[i]
            d = last[0].union(*(g[0] for g in groups))
            a = last[1].union(*(g[1] for g in groups))
            if x.d:
                if x.a & d:
                    faults.add(x.text)
                last = (last[0] | x.d, last[1] | x.a)
                if x.commits:
                    groups, last = groups + (last,), none
            elif x.left is not None:
                groups = groups[max(len(groups) - x.left, 0):]
            elif (x.writes | x.reads) & d or x.writes & a:
                faults.add(x.text)
            if len(groups) > RUNNING or (x.name == "EXIT" and x.predicate is None and groups):
                faults.add(x.text)
                continue
            left += [(j, groups, last) for j in self.onward(i, len(groups))]
        return faults

    def unfenced(self):
        """Products with registers that were touched since the last fence."""
        faults, left = set(), [0]
        touched = {0: frozenset()}
        while left:
            i = left.pop()
            x, t = self.code[i], touched[i]
            if x.name.startswith("WARPGROUP.ARRIVE"):
                t = frozenset()
            elif x.d:
                if (x.d | x.a) & t:
                    faults.add(x.text)
            else:
                t = t | x.writes | x.reads
            for j in self.next(i):
                if j not in touched or not t <= touched[j]:
                    touched[j] = touched.get(j, frozenset()) | t
                    left.append(j)
        return faults


def read(text):
    """The kernels with products."""
    kernels = []
    for part in text.split("Function : ")[1:]:
        if "HGMMA" not in part:
            continue
        k = Kernel(part.split()[0])
        k.code = [Instruction(int(m[1], 16), m[2]) for m in re.finditer(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", part, re.M)]
        k.place = {x.at: i for i, x in enumerate(k.code)}
        kernels.append(k)
    return kernels


@unittest.skipIf(TOOL is None, "there is no cuobjdump")
class Sass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.text = "".join(subprocess.run([TOOL, "-arch", "sm_90a", "-sass", o], check=True, capture_output=True,
                                          text=True).stdout for o in OBJECTS)
        cls.kernels = read(cls.text)

    def test_registers_of_products_are_left_alone(self):
        self.assertGreaterEqual(len(self.kernels), 16)
        for k in self.kernels:
            self.assertEqual((k.name, k.meanwhile()), (k.name, set()))

    def test_a_fence_comes_before(self):
        for k in self.kernels:
            self.assertEqual((k.name, k.unfenced()), (k.name, set()))

    def test_faults_would_be_found(self):
        part = "Function : " + next(p for p in self.text.split("Function : ") if "HGMMA" in p)
        self.assertNotEqual(read(part.replace("WARPGROUP.DEPBAR.LE gsb0, 0x0", "NOP"))[0].meanwhile(), set())
        self.assertNotEqual(read(part.replace("WARPGROUP.ARRIVE", "NOP"))[0].unfenced(), set())

    def test_registers_are_those_that_were_given_or_taken(self):
        n = 0
        for k in self.kernels:
            for i, x in enumerate(k.code):
                m = re.search(r"USETMAXREG\.(?:DEALLOC|TRY_ALLOC)\S* .*?(0x[0-9a-f]+)$", x.text)
                if m:
                    used = max(r for j in k.reach(i) for r in k.code[j].writes | k.code[j].reads | {0})
                    self.assertLess(used, int(m[1], 16), (k.name, x.text))
                    n += 1
        self.assertGreater(n, 0)

    def test_nothing_is_kept_in_memory(self):
        for k in self.kernels:
            self.assertEqual((k.name, [x.text for x in k.code if x.name.startswith(("LDL", "STL"))]), (k.name, []))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
