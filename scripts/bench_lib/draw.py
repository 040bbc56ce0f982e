# SPDX-License-Identifier: MIT
"""Plots as SVG: bars for ratios and latencies, lines over a logarithmic axis for curves."""
import math

COLOURS = {'weir': '#1b6ca8', 'nginx': '#8a9a5b', 'haproxy': '#c98a3a', 'nghttpx': '#8e5ea2',
           'weir-bare': '#6f9fc0', 'weir-unread': '#6f9fc0'}
STYLE = ('<style>text{fill:#24292f;font-family:sans-serif}.g{stroke:#d0d7de}.m{stroke:#57606a}'
         'svg{background:#fff}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{stroke:#3d444d}'
         '.m{stroke:#9198a1}svg{background:#0d1117}}</style>')


def colour(name):
    return COLOURS[name.split()[0]]


def text(x, y, words, size=12, anchor='start', weight='normal'):
    words = str(words).replace('&', '&amp;').replace('<', '&lt;')
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
            f' font-weight="{weight}">{words}</text>')


def page(width, height, parts):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}">{STYLE}{"".join(parts)}</svg>\n')


def bar(y, left, scale, value, low, high, label, fill):
    """A bar of length value, a whisker from low to high, a label behind it."""
    a, b = left + low * scale, left + high * scale
    return (f'<rect x="{left}" y="{y}" width="{max(value * scale, 0.5):.1f}" height="14"'
            f' fill="{fill}"/><path d="M{a:.1f} {y + 7}H{b:.1f}M{a:.1f} {y + 3}v8M{b:.1f} {y + 3}v8"'
            f' class="m" fill="none"/>' + text(max(b, left + value * scale) + 6, y + 11, label))


def bars(title, subtitle, groups, unit_line=None):
    """groups: [(heading, [(name, value, low, high, label)])]; a dashed line at unit_line."""
    left, width, y = 150, 820, 62
    longest = max((high for _, rows in groups for _, _, _, high, _ in rows), default=1) or 1
    scale = (width - left - 190) / longest
    parts = []
    for heading, rows in groups:
        parts.append(text(12, y + 11, heading, weight='bold'))
        for name, value, low, high, label in rows:
            y += 18
            parts.append(text(left - 8, y + 11, name, anchor='end'))
            parts.append(bar(y, left, scale, value, low, high, label, colour(name)))
        y += 28
    if unit_line is not None:
        at = left + unit_line * scale
        parts.append(f'<path d="M{at:.1f} 54V{y - 8}" class="m" stroke-dasharray="4 3"/>')
    head = text(12, 22, title, 16, weight='bold') + text(12, 42, subtitle)
    return page(width, y, [head, *parts])


class Panel:
    """One curve: x logarithmic, y from 0."""

    W, H, LEFT, TOP, BOTTOM = 330, 260, 46, 40, 44

    def __init__(self, title, x_label, lines):
        self.title, self.x_label, self.lines = title, x_label, lines
        points = [p for line in lines.values() for p in line]
        self.x_low = min(x for x, _ in points)
        self.x_high = max(max(x for x, _ in points), self.x_low + 1)
        self.y_high = max(y for _, y in points) * 1.15 or 1

    def x(self, value):
        span = math.log(self.x_high / self.x_low)
        return self.LEFT + math.log(value / self.x_low) / span * (self.W - self.LEFT - 16)

    def y(self, value):
        return self.H - self.BOTTOM - value / self.y_high * (self.H - self.TOP - self.BOTTOM)

    def draw(self):
        parts = [text(self.W / 2, 20, self.title, 13, 'middle', 'bold'),
                 text(self.W / 2, self.H - 8, self.x_label, anchor='middle')]
        for i in range(5):
            value = self.y_high * i / 4
            parts.append(f'<path d="M{self.LEFT} {self.y(value):.1f}H{self.W - 16}" class="g"/>'
                         + text(self.LEFT - 5, self.y(value) + 4, f'{value:.0f}', 11, 'end'))
        for value in sorted({x for line in self.lines.values() for x, _ in line}):
            parts.append(text(self.x(value), self.H - self.BOTTOM + 16, value, 11, 'middle'))
        for i, (name, line) in enumerate(self.lines.items()):
            at = ' '.join(f'{self.x(x):.1f},{self.y(y):.1f}' for x, y in line)
            parts.append(f'<polyline points="{at}" fill="none" stroke="{colour(name)}"'
                         f' stroke-width="2"/>')
            parts += [f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3"'
                      f' fill="{colour(name)}"/>' for x, y in line]
            parts.append(f'<rect x="{self.LEFT + 6 + 86 * i}" y="28" width="10" height="4"'
                         f' fill="{colour(name)}"/>' + text(self.LEFT + 20 + 86 * i, 34, name, 11))
        return ''.join(parts)


def curves(panels):
    parts = [f'<g transform="translate({i * Panel.W} 0)">{p.draw()}</g>'
             for i, p in enumerate(panels)]
    return page(Panel.W * len(panels), Panel.H, parts)
