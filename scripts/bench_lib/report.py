# SPDX-License-Identifier: MIT
"""What comes out of rounds: medians and ratios, as text, as Markdown, and as groups of bars."""
import statistics
import sys

METRICS = ('cpu_us', 'large', 'rps', 'cores', 'others', 'p50_us', 'p99_us', 'p999_us', 'rss_bytes',
           'left')


def main_metric(r):
    if r['beside']:
        return 'p99_us'
    return 'rss_bytes' if r['load'] == 'idle' else 'cpu_us'


def head_of(r):
    return 'p99 us' if r['beside'] else 'CPU us/' + r['unit']


def summary(r, table):
    """Per proxy: medians, spread, and the ratio weir / peer by rounds."""
    key, rows = main_metric(r), {}
    for name, rounds in table.items():
        values = [x[key] for x in rounds]
        s = {m: statistics.median(x[m] for x in rounds) for m in METRICS if m in rounds[0]}
        s |= dict(low=min(values), high=max(values), bad=sum(x['bad'] for x in rounds),
                  requests=sum(x['n'] for x in rounds))
        pairs = zip(table.get('weir', []), rounds)
        ratios = [w[key] / x[key] for w, x in pairs if x[key] > 0]
        if ratios:
            s |= dict(ratio=statistics.median(ratios), ratio_low=min(ratios), ratio_high=max(ratios))
        rows[name] = s
    return rows


def spread(value, low, high, digits):
    if low == high:
        return f'{value:.{digits}f}'
    return f'{value:.{digits}f} ({low:.{digits}f}..{high:.{digits}f})'


def ms(s, key):
    return f'{s[key] / 1e3:.2f}' if key in s else '-'


def print_row(r, rows):
    print(f'\n{r["title"]}')
    if r['load'] == 'idle':
        print(f'  {"":8} {"bytes/connection":>22} {"weir/peer":>20} {"bad":>6}')
    else:
        print(f'  {"":8} {head_of(r):>22} {"weir/peer":>20} {r["unit"] + "s/s":>12}'
              f' {"p50 ms":>7} {"p99 ms":>7} {"p99.9":>7} {"cores":>6} {"others":>6} {"bad":>6}'
              + (f' {"beside/s":>9}' if r['beside'] else '')
              + (f' {"left":>7}' if r['does'] == 'gzip' else ''))
    for name, s in rows.items():
        value = spread(s[main_metric(r)], s['low'], s['high'], 0 if r['load'] == 'idle' else 2)
        ratio = spread(s['ratio'], s['ratio_low'], s['ratio_high'], 2) \
            if 'ratio' in s and name != 'weir' else ''
        line = f'  {name:8} {value:>22} {ratio:>20}'
        if r['load'] != 'idle':
            line += (f' {s["rps"]:12.0f} {ms(s, "p50_us"):>7} {ms(s, "p99_us"):>7}'
                     f' {ms(s, "p999_us"):>7} {s["cores"]:6.2f} {s["others"]:6.2f}')
        print(f'{line} {s["bad"]:>6}' + (f' {s["large"]:9.0f}' if r['beside'] else '')
              + (f' {100 * s["left"]:6.1f}%' if r['does'] == 'gzip' else ''))
    sys.stdout.flush()


def print_table(rows, results, peers):
    """One line a row, as Markdown: what the README shows."""
    others = [p for p in peers if p != 'weir' and any(p in x for x in results.values())]
    print('\n| CPU us, p99 us, or bytes | weir | ' + ' | '.join(others) + ' |')
    print('|---|---:|' + '---:|' * len(others))
    for name, found in results.items():
        key = main_metric(rows[name])
        digits = 0 if key == 'rss_bytes' else 1
        cells = [f'{found["weir"][key]:.{digits}f}' if 'weir' in found else '-']
        for p in others:
            s = found.get(p)
            ratio = f' ({s["ratio"]:.2f})' if s and 'ratio' in s else ''
            cells.append(f'{s[key]:.{digits}f}{ratio}' if s else '')
        print(f'| {rows[name]["title"]} | ' + ' | '.join(cells) + ' |')
    print('\nin brackets: weir / peer, median over the rounds')


def bar_groups(rows, results):
    groups = []
    for name, found in results.items():
        key = main_metric(rows[name])
        unit = 'B' if key == 'rss_bytes' else 'us'
        base = found.get('weir', {}).get(key)
        if not base:
            continue
        bars = [(p, s[key] / base, s['low'] / base, s['high'] / base,
                 f'{s[key] / base:.2f}  ({s[key]:.{0 if unit == "B" else 1}f} {unit})')
                for p, s in found.items()]
        groups.append((rows[name]['title'], bars))
    return groups
