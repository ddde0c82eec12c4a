"""A report as text: a tree by module of what was welded and why the rest was not."""

from __future__ import annotations

from torchweld.fusion.report import Report, WeightRange


def explain(report: Report) -> str:
    """The report as a tree by module, for reading in a terminal."""
    b, a, c = report.before, report.after, report.certificate
    lines = [
        f"convs {b.convs} -> {a.convs}   norms {b.norms} -> {a.norms}   linears {b.linears} -> {a.linears}   "
        f"operators {b.operators} -> {a.operators}",
        f"FLOPs {b.flops:.3g} -> {a.flops:.3g}   parameters {b.parameters:,} -> {a.parameters:,}",
        f"certificate: float64 {c.twin_error:.1e} (bound {c.twin_bound:.0e}); {c.dtype} {c.fused_error:.1e}, "
        f"the original's own {c.native_error:.1e}; {len(c.checks)} sets of inputs: "
        + "; ".join(check.shapes for check in c.checks),
        "",
        "welded",
        *_tree([(w.where, f"{', '.join(w.laws)}  <-  {', '.join(w.sources)}") for w in report.rewrites]),
        "",
        "declined",
        *_tree([(d.where, d.reason) for d in report.refusals]),
    ]
    risks = [r for r in report.ranges if r.risk]
    if risks:
        lines += ["", f"int8: {len(risks)} of {len(report.ranges)} merged kernels would lose accuracy"]
        lines += _tree([(r.where, _eight_bits(r)) for r in risks])
    if report.notes:
        lines += ["", "notes", *(f"  {note}" for note in report.notes)]
    return "\n".join(lines)


def _eight_bits(r: WeightRange) -> str:
    return (
        f"error {r.tensor_before:.1%} -> {r.tensor_after:.1%} with one scale, "
        f"{r.channel_before:.1%} -> {r.channel_after:.1%} with one a channel: {r.risk}"
    )


def _tree(rows: list[tuple[str, str]]) -> list[str]:
    """Rows by dotted path, each folder said once."""
    if not rows:
        return ["  nothing"]
    lines: list[str] = []
    above: tuple[str, ...] = ()
    for path, text in rows:
        *folders, name = path.split(".")
        for depth, folder in enumerate(folders):
            if tuple(folders[: depth + 1]) != above[: depth + 1]:
                lines.append(f"  {'  ' * depth}{folder}")
        above = tuple(folders)
        lines.append(f"  {'  ' * len(folders)}{name}: {text}")
    return lines
