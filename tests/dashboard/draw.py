#!/usr/bin/env python3
"""Draws etc/grafana/hydraneckwebrtc.json as an SVG from a Prometheus: draw.py URL SECONDS FILE.

Not Grafana, but the same queries over the same numbers: what the panels would show. Standard library only.
"""

import json
import math
import sys
import time
import urllib.parse
import urllib.request
from html import escape
from pathlib import Path

COLUMN, LINE, GAP = 54, 30, 8
COLOURS = ["#7eb26d", "#eab839", "#6ed0e0", "#ef843c", "#e24d42", "#1f78c1", "#ba43a9", "#705da0", "#508642", "#cca300"]
STEPS = {"green": "#2f7d32", "orange": "#b26a00", "red": "#a3262f"}
MAX_NAMED = 5


def ask(url, path, **parameters):
    with urllib.request.urlopen(f"{url}{path}?{urllib.parse.urlencode(parameters)}") as reply:
        return json.load(reply)["data"]["result"]


def series(url, panel, span):
    end = time.time()
    found = []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", "20s").replace("$job", ".*").replace("$instance", ".*")
        for one in ask(url, "/api/v1/query_range", query=query, start=end - span, end=end, step=max(1, span // 120)):
            name = target["legendFormat"]
            for label, value in one["metric"].items():
                name = name.replace("{{" + label + "}}", value)
            points = [(at, float(value)) for at, value in one["values"]]
            found.append((name, [(at - end + span, value) for at, value in points if math.isfinite(value)]))
    return found


def number(value, unit):
    if unit == "percentunit":
        return f"{value:.0%}"
    if unit == "s":
        if value >= 172_800:
            return f"{value / 86_400:.4g} d"
        return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
    for size, letter in [(1e9, "G"), (1e6, "M"), (1e3, "k")]:
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.3g}"


def text(x, y, words, size=11, colour="#c7d0d9", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'


def stat(panel, found, box):
    x, y, w, h = box
    if not found:
        return [text(x + w / 2, y + h / 2 + 8, "no data", 14, "#7b8087", "middle")]
    defaults = panel["fieldConfig"]["defaults"]
    out, share = [], w / len(found)
    for place, (name, points) in enumerate(found):
        value = points[-1][1] if points else 0.0
        steps = [step for step in defaults["thresholds"]["steps"] if step["value"] is None or value >= step["value"]]
        colour = STEPS[steps[-1]["color"]]
        left = x + place * share
        out.append(f'<rect x="{left + 3:.0f}" y="{y + 26}" width="{share - 6:.0f}" height="{h - 32}" rx="3" fill="{colour}"/>')
        out.append(text(left + share / 2, y + h / 2 + 16, number(value, defaults["unit"]), 22, "#fff", "middle"))
        if len(found) > 1 or "{{" in panel["targets"][0]["legendFormat"]:
            out.append(text(left + share / 2, y + h - 12, name[: int(share / 6.5)], 10, "#fff", "middle"))
    return out


def lines(panel, found, box, span):
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults["custom"]["stacking"]["mode"] == "normal"
    left, top, wide, high = x + 52, y + 30, w - 62, h - 74
    base, drawn, most = {}, [], 0.0
    for name, points in found:
        if stacked:
            points = [(at, value + base.get(round(at), 0.0)) for at, value in points]
            base.update({round(at): value for at, value in points})
        drawn.append((name, points))
        most = max([most, *(value for _, value in points)])
    most = defaults.get("max", most * 1.1) or 1.0
    out = []
    for part in range(5):
        at = top + high * part / 4
        out.append(f'<line x1="{left}" y1="{at:.0f}" x2="{left + wide}" y2="{at:.0f}" stroke="#2c3235"/>')
        if part % 2 == 0:
            out.append(text(left - 6, at + 4, number(most * (1 - part / 4), defaults["unit"]), 10, "#9fa7b3", "end"))
    for place, (name, points) in reversed(list(enumerate(drawn))):
        colour = COLOURS[place % len(COLOURS)]
        at = []
        for t, value in points:
            point = (round(left + wide * t / span), round(top + high * (1 - min(value / most, 1.0))))
            # Points on a level line say nothing.
            if len(at) > 1 and at[-1][1] == at[-2][1] == point[1]:
                at[-1] = point
            else:
                at.append(point)
        path = " ".join(f"{px},{py}" for px, py in at)
        if len(at) > 1 and stacked:
            ends = f"{at[-1][0]},{top + high} {at[0][0]},{top + high}"
            out.append(f'<polygon points="{path} {ends}" fill="{colour}" fill-opacity="0.35"/>')
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    shown = sorted(enumerate(drawn), key=lambda item: -max([value for _, value in item[1][1]] or [0.0]))
    names = sorted(place for place, _ in shown[:MAX_NAMED])
    column = wide / max(1, min(3, len(names)))
    for nth, place in enumerate(names):
        nx, ny = left + (nth % 3) * column, y + h - 28 + (nth // 3) * 15
        out.append(f'<rect x="{nx:.0f}" y="{ny - 6:.0f}" width="10" height="4" fill="{COLOURS[place % len(COLOURS)]}"/>')
        out.append(text(nx + 14, ny, drawn[place][0][: max(4, int(column / 6.2) - 3)], 10))
    if len(shown) > MAX_NAMED:
        out.append(text(x + w - 8, y + h - 28 + 15, f"+{len(shown) - MAX_NAMED} more", 10, "#7b8087", "end"))
    return out


def main(url, span, file):
    root = Path(__file__).resolve().parent.parent.parent
    dashboard = json.loads((root / "etc/grafana/hydraneckwebrtc.json").read_text())
    bottom = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"])
    width, height = 24 * COLUMN, bottom * LINE + GAP
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
        f'<title>{escape(dashboard["title"])}</title><rect width="{width}" height="{height}" fill="#111217"/>',
    ]
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        box = (at["x"] * COLUMN + GAP / 2, at["y"] * LINE + GAP, at["w"] * COLUMN - GAP, at["h"] * LINE - GAP)
        if panel["type"] == "row":
            out.append(text(box[0] + 2, box[1] + 16, "▾ " + panel["title"], 14, "#fff"))
            continue
        x, y, w, h = box
        out.append(f'<rect x="{x:.0f}" y="{y}" width="{w:.0f}" height="{h}" rx="3" fill="#181b1f" stroke="#2c3235"/>')
        out.append(text(x + 8, y + 18, panel["title"], 12, "#fff"))
        found = series(url, panel, span)
        out += stat(panel, found, box) if panel["type"] == "stat" else lines(panel, found, box, span)
    Path(file).write_text("\n".join([*out, "</svg>"]) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
