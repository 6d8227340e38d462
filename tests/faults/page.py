"""The report as one HTML page: tables and an inline SVG, no script, no other file."""

from collections import defaultdict
from html import escape
from typing import Any

_COLOURS = {
    "LIVE": "#2e9e5b", "STALE": "#e0b000", "CLOSED": "#d0453e",
    "BOOT": "#8888a0", "SNAPSHOT": "#5a7fd0", "CATCHUP": "#5ab0d0",
    "good": "#2e9e5b", "revoked": "#5a4fb0", "TRY_LATER": "#e0b000", "no answer": "#d0453e",
}  # fmt: skip
_OTHER = "#000000"
_STYLE = """body{font:14px/1.4 system-ui,sans-serif;margin:2em;max-width:1500px;color:#222}
table{border-collapse:collapse;margin:1em 0}
td,th{border:1px solid #ccc;padding:3px 8px;text-align:left;vertical-align:top}
th{background:#f2f2f5}.held{color:#1c7a42;font-weight:600}.broken{color:#c0271f;font-weight:600}.n{text-align:right}
.scroll{overflow-x:auto;border:1px solid #ccc;padding:4px}pre{background:#fff0f0;padding:6px;white-space:pre-wrap}
details{margin:.3em 0}summary{cursor:pointer}small{color:#666}
span.key{display:inline-block;padding:0 .5em;color:#fff;margin-right:.4em}"""
_LEFT, _ROW, _HOSTS_TOP, _BARS = 70, 18, 190, 120


def render(facts: dict[str, Any]) -> str:
    """The whole page."""
    broken = sum(rule["broken"] for rule in facts["rules"]) + facts["not_taken"] + facts["ended"]
    verdict = f'<span class="{"broken" if broken else "held"}">{broken} violations</span>'
    about = (
        f"{facts['seconds']:.0f} s, {len(facts['episodes']) - 1} episodes, {facts['questions']:,} questions"
        f" ({facts['excused']:,} without an answer that were not owed one), {facts['changes']} changes."
        f" Seed {facts['seed']}, commit {escape(facts['commit'])}, horizon {facts['horizon_s']} s."
        f" {escape(facts['machine'])}. Hosts: {escape(facts['hosts'])}."
    )
    return "\n".join([
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Faults</title>',
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Faults: {verdict}</h1><p>{about}</p>",
        *(f"<p>Left out: {escape(line)}</p>" for line in facts["left_out"]),
        _rules(facts["rules"]),
        f"<h2>Timeline</h2>{_legend()}<div class=scroll>{_timeline(facts)}</div>",
        f"<h2>Faults</h2>{_faults(facts['episodes'])}",
        *(_episode(number, episode) for number, episode in enumerate(facts["episodes"])),
        _final(facts["final"]),
        "</body></html>",
    ])  # fmt: skip


def _table(heads: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{one}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _word(broken: int) -> str:
    return f'<span class="broken">broken {broken}</span>' if broken else '<span class="held">held</span>'


def _rules(rules: list[dict[str, Any]]) -> str:
    rows = [[r["rule"], escape(r["says"]), f"{r['checked']:,}", _word(r["broken"])] for r in rules]
    return _table(["Rule", "Says", "Checked", "Verdict"], rows)


def _legend() -> str:
    keys = "".join(f'<span class=key style="background:{colour}">{name}</span>' for name, colour in _COLOURS.items())
    return f"<p>{keys}</p>"


def _timeline(facts: dict[str, Any]) -> str:
    seconds = facts["seconds"]
    scale = max(1.0, min(9.0, 30000 / max(seconds, 1)))
    parts = [_bar(scale, e["begin"], e["healed"], 4 + 16 * (n % 11), "#f3b6b2", f"{n} {e['name']}", str(n)) for n, e in
             enumerate(facts["episodes"]) if n]  # fmt: skip
    hosts = sorted({run["host"] for run in facts["states"]})
    for number, host in enumerate(hosts):
        top = _HOSTS_TOP + _ROW * number
        parts.append(f"<text x=0 y={top + 12} font-size=12>{escape(host)}</text>")
        parts += [
            _bar(scale, run["begin"], run["end"], top, _COLOURS.get(run["state"], _OTHER), f"{host} {run['state']}")
            for run in facts["states"] if run["host"] == host
        ]  # fmt: skip
    base = _HOSTS_TOP + _ROW * len(hosts) + 10 + _BARS
    parts.append(
        f"<text x=0 y={base - _BARS + 12} font-size=12>answers</text>"
        f"<text x=0 y={base - _BARS + 26} font-size=12>a second</text>"
    )
    parts += _answers(facts, scale, base)
    parts += [
        f"<text x={_LEFT + scale * at} y={base + 14} font-size=10>{at} s</text>" for at in range(0, int(seconds), 10)
    ]
    size = f'width="{_LEFT + scale * seconds + 20:.0f}" height="{base + 20}"'
    return f'<svg {size} font-family="sans-serif">{"".join(parts)}</svg>'


def _bar(scale: float, begin: float, end: float, top: int, colour: str, title: str, text: str = "") -> str:
    x, width = _LEFT + scale * begin, max(1.0, scale * (end - begin))
    label = f"<text x={x + 2:.1f} y={top + 11} font-size=10>{text}</text>" if text else ""
    rect = f'<rect x="{x:.1f}" y="{top}" width="{width:.1f}" height="14" fill="{colour}">'
    return f"{rect}<title>{escape(title)}</title></rect>{label}"


def _answers(facts: dict[str, Any], scale: float, base: int) -> list[str]:
    by_second: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for episode in facts["episodes"]:
        for second, says, count in episode["seconds"]:
            by_second[int(second)][says] += count
    most = max((sum(counts.values()) for counts in by_second.values()), default=1)
    parts = []
    for second, counts in sorted(by_second.items()):
        top = float(base)
        for says in sorted(counts, key=lambda name: list(_COLOURS).index(name) if name in _COLOURS else 99):
            height = _BARS * counts[says] / most
            top -= height
            parts.append(
                f'<rect x="{_LEFT + scale * second:.1f}" y="{top:.1f}" width="{scale:.1f}" height="{height:.1f}"'
                f' fill="{_COLOURS.get(says, _OTHER)}"><title>{second} s: {counts[says]} {says}</title></rect>'
            )
    return parts


def _faults(episodes: list[dict[str, Any]]) -> str:
    rows = [
        [
            str(number),
            f'<a href="#e{number}">{escape(each["name"])}</a>',
            f"{each['healed'] - each['begin']:.1f} s",
            escape(each["proof"]) or "<small>none</small>",
            f"{each['questions']:,}<br><small>{each['rate_per_s']} a second</small>",
            f"{each['after']:,}",
            ", ".join(f"{count:,} {escape(says)}" for says, count in each["says"].items()),
            _word(len(each["violations"])) + (" and repeated: the machine was busy" if each["repeated"] else ""),
        ]
        for number, each in enumerate(episodes)
    ]
    heads = ["", "Fault", "Lasted", "Proof that it took hold", "Questions", "After a confirmation", "Answers", ""]
    return _table(heads, rows)


def _episode(number: int, each: dict[str, Any]) -> str:
    excuses = [
        [
            escape(x["host"] or "every host"),
            ", ".join(x["kinds"]) or "every question",
            f"{x['since_s']:.1f} s",
            escape(x["why"]),
        ]
        for x in each["excused"]
    ]
    changes = [
        [c["kind"], escape(c["how"]), c["serial"], f"{c['begin']:.2f} s", escape(c["outcome"]), str(c["tries"]),
         "" if c["wait_s"] is None else f"{1000 * c['wait_s']:.0f} ms"]
        for c in each["changes"]
    ]  # fmt: skip
    lines = "".join(
        f"<p class=broken>{v['rule']}: {escape(v['what'])}</p><pre>{escape(chr(10).join(v['lines']))}</pre>"
        for v in each["violations"]
    )
    return (
        f'<details id="e{number}"{" open" if lines else ""}><summary>{number} {escape(each["name"])}</summary>{lines}'
        f"<p>Workers asked: {', '.join(f'{host} {count}' for host, count in each['workers'].items())}</p>"
        + (_table(["Not owed by", "what", "from", "why"], excuses) if excuses else "<p>Every answer was owed.</p>")
        + _table(["Change", "how", "serial", "begun", "outcome", "tries", "commit to CONFIRMED"], changes)
        + "</details>"
    )


def _final(final: dict[str, Any]) -> str:
    rows = [["ledger", final.get("ledger", "")], *([host, said] for host, said in final.get("edges", {}).items())]
    differences = "".join(f"<p class=broken>{escape(line)}</p>" for line in final.get("differences", ["not looked at"]))
    looked_up = f"<p>{final.get('acknowledged', 0)} acknowledged changes looked up.</p>"
    return f"<h2>The end</h2>{differences}{_table(['Set of', 'SHA-256'], rows)}{looked_up}"
