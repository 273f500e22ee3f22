"""metrics: a strict reader of Prometheus' text format 0.0.4."""

import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
SAMPLE = re.compile(
    rf'({NAME})(?:\{{([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"\}})? ([0-9]+(?:\.[0-9]+)?)'
)


def read_metrics(text: str) -> dict[tuple[str, str], float]:
    """{(name, label value): number}; fails on what Prometheus would refuse, and on what its
    conventions advise against."""
    assert text.endswith("\n")
    samples: dict[tuple[str, str], float] = {}
    families: dict[str, str] = {}
    family = helped = ""
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            helped, help_text = line[7:].split(" ", 1)
            assert help_text.strip() and helped not in families, line
        elif line.startswith("# TYPE "):
            family, kind = line[7:].split(" ")
            assert family == helped and kind in ("counter", "gauge"), line
            assert family.endswith("_total") == (kind == "counter"), line
            families[family] = kind
        else:
            match = SAMPLE.fullmatch(line)
            assert match, f"no sample: {line!r}"
            name, _, label, number = match.groups()
            assert name == family, f"outside of its family: {line!r}"
            assert (name, label or "") not in samples, f"twice: {line!r}"
            samples[(name, label or "")] = float(number)
    assert set(families) == {name for name, _ in samples}, "a family without samples"
    return samples
