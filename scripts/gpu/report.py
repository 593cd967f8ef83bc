"""The results as one file of JSON and one of markdown."""
from __future__ import annotations

import json
import os

from tests import FINE, count, label

MEASURED = ("bench", "pytorch", "kernels", "variants")


def write(folder, results):
    """Writes both files; called after each part, so that a part cut off leaves the others."""
    for name, text in (("results.json", json.dumps(results, indent=1) + "\n"), ("results.md", markdown(results))):
        path = os.path.join(folder, name)
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)


def verdict(name, part):
    late = "; its time was up" if part.get("overran") else ""
    if part["ok"] is None:
        return f"skipped: {part['skipped']}{late}"
    passed = "measured" if name in MEASURED else "passed"
    return (passed if part["ok"] else "FAILED") + late


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in row) + " |" for row in rows]
    return [*lines, ""]


def markdown(results):
    lines = [f"# GPU check of Signet: {'passed' if results['ok'] else 'NOT PASSED'}", ""]
    lines += machine_table(results)
    if results.get("stopped"):
        lines += [f"Stopped: {results['stopped']}", ""]
    writers = {
        "train": train, "pytorch": pytorch, "kernels": kernels, "tests": tests, "stress": stress,
        "sanitizer": sanitizer, "variants": variants, "bench": bench, "long": tests,
    }
    for name, part in results["parts"].items():
        lines += [f"## {name}: {verdict(name, part)}", ""]
        if part.get("broken"):
            lines += [f"The check itself failed: {part['broken']}", ""]
        elif part["ok"] is not None:
            lines += writers[name](part)
    return "\n".join(lines)


def machine_table(results):
    machine, bundle = results["machine"], results["bundle"]
    devices = machine["devices"]
    gpus = [f"{gpu['name']}, compute capability {gpu['compute_capability']}" for gpu in devices.get("gpus", [])]
    nvrtc = devices.get("nvrtc", {})
    rows = [
        ("card", "; ".join(gpus) or "none"),
        ("driver", (machine["nvidia_smi"] or {}).get("driver_version", "?")),
        ("CUDA of the driver", devices.get("driver", {}).get("cuda", "?")),
        ("NVRTC", f"{nvrtc.get('version', 'none')} {nvrtc.get('path', '')}"),
        ("CPU", f"{machine['cpu']['name']}, {machine['cpu']['threads']} threads"),
        ("date", results["date"]),
        ("commit", bundle["commit"]),
    ]
    smi = machine["nvidia_smi"] or {}
    rows += [(key, value) for key, value in smi.items() if key.startswith(("clocks", "power", "temperature"))]
    return table(("", ""), rows)


def tests(part):
    rows = []
    for one in part["binaries"]:
        rows.append((label(one), *count(one), f"{one['seconds']:.1f}", one["ending"]))
    lines = table(("binary", "passed", "not passed", "skipped", "seconds", "ending"), rows)
    for one in part["binaries"]:
        for test, state in one["tests"].items():
            if state not in FINE:
                said = " ".join(one["messages"].get(test, "").split())
                lines.append(f"- `{one['name']}` `{test}`: {state}. {said}")
    return [*lines, ""]


def train(part):
    lines = [f"Data: {part['data']}, batches of {part['batch']}.", ""]
    rows = []
    for name, run in part["runs"].items():
        last, best = run["epochs"][-1], max(epoch["valid_accuracy"] for epoch in run["epochs"])
        rows.append((
            name, f"{run['images_per_second']:.0f}", f"{run['step_seconds'] * 1e6:.1f}",
            f"{run['seconds_per_epoch']:.3f}", f"{run['wall_seconds']:.1f}",
            f"{last['train_loss']:.4f}", f"{last['valid_accuracy']:.4f}", f"{best:.4f}",
        ))
    head = ("run", "images/s", "us a step", "s per epoch", "s in all", "last train loss", "last valid accuracy", "best")
    lines += table(head, rows)
    rows = [(one["name"], "ok" if one["ok"] else "FAILED", one["detail"]) for one in part["checks"]]
    return lines + table(("check", "", ""), rows)


def bench(part):
    if not part["ok"]:
        return [part["problem"], ""]
    document = part["document"]
    peaks, reference = document["peaks"], document["reference"]
    lines = [
        f"Peaks: {peaks['bytes_per_second'] / 1e9:.0f} GB/s, {peaks['flops_per_second'] / 1e9:.0f} GFLOP/s, "
        f"{peaks['launch_seconds'] * 1e6:.2f} us a launch. Beside: {reference or part['problem']}.",
        *filter(None, ["", part["rows_left_out"]]),
        "",
    ]
    rows = [
        (
            row["name"], row["kernels"], *(f"{row[key] * 1e6:.1f}" for key in ("median_seconds", "p10_seconds", "p90_seconds")),
            f"{row['gflops']:.0f}", f"{row['gigabytes_per_second']:.0f}", f"{row['percent_of_roofline']:.0f}%", row["limit"],
            "" if row["ratio"] is None else f"{row['ratio']:.2f}",
        )
        for row in document["rows"]
    ]
    head = ("row", "kernels", "median us", "p10", "p90", "GFLOP/s", "GB/s", "roofline", "limit", "PyTorch's time / this")
    return lines + table(head, rows)


def pytorch(part):
    if not part["ok"]:
        return [part["problem"], ""]
    lines = [f"PyTorch {part['torch']} with its own defaults, {part['steps']} steps a measurement, in turns.", ""]
    names = list(dict.fromkeys(name for one in part["rounds"] for name in one))
    rows = [
        (i + 1, *(f"{one[name] * 1e6:.1f}" if name in one else "" for name in names))
        for i, one in enumerate(part["rounds"])
    ]
    if rows:
        lines += table(("round, us a step", *names), rows)
    rows = [
        (mode, f"{ratio['median']:.2f}", f"{ratio['least']:.2f} to {ratio['most']:.2f}")
        for mode, ratio in part["ratios"].items()
    ]
    if rows:
        lines += table(("PyTorch's time / Signet's", "median", "spread"), rows)
    if part["problem"]:
        lines += [f"Ended early: {part['problem']}", ""]
    return lines


def kernels(part):
    lines = [part["problem"], ""] if part["problem"] else []
    if part["ncu"]:
        lines += ["By `ncu`, launched one by one in a training, clocks and caches as they were:", ""]
        groups = {}
        for launch in part["ncu"]:
            groups.setdefault((launch["name"], launch["grid"], launch["block"]), []).append(launch)
        rows = [
            (
                name, grid, block, len(some), f"{sum(one['seconds'] for one in some) / len(some) * 1e6:.2f}",
                some[0]["registers"] or "", some[0]["occupancy"] or "", ", ".join(some[0]["stalls"]),
            )
            for (name, grid, block), some in groups.items()
        ]
        lines += table(("kernel", "grid", "block", "launches", "us", "registers", "occupancy %", "stalls"), rows)
    else:
        lines += [f"No figures by `ncu`: {part['no_ncu']}", ""]
    if part["profiles"]:
        lines += ["By `signet train --profile`, an epoch and its validation:", "", *profile_table(part["profiles"])]
    if part["plan"]:
        lines += ["The plan of a step:", ""]
        shape = lambda launch, key: " x ".join(map(str, (launch or {}).get(key, [])))
        rows = [
            (one["name"], shape(one.get("launch"), "grid"), shape(one.get("launch"), "block"), json.dumps(one["cost"]))
            for one in part["plan"]
        ]
        lines += table(("kernel", "grid", "block", "cost"), rows)
    return lines


def profile_table(profiles):
    """The time of each kernel in one or more runs, and its share of all of them."""
    by_name = {run: {kernel["name"]: kernel for kernel in profile} for run, profile in profiles.items()}
    names = list(dict.fromkeys(name for one in by_name.values() for name in one))
    everything = {run: sum(kernel["seconds"] for kernel in profile) for run, profile in profiles.items()}
    rows = []
    for name in names:
        calls = next(one[name]["calls"] for one in by_name.values() if name in one)
        cells = [name, calls]
        for run, one in by_name.items():
            kernel = one.get(name)
            cells += [f"{kernel['seconds'] / kernel['calls'] * 1e6:.2f}", f"{kernel['seconds'] / everything[run]:.1%}"] if kernel else ["", ""]
        rows.append(cells)
    rows.append(["all", "", *(cell for seconds in everything.values() for cell in (f"{seconds * 1e6:.0f} us in all", ""))])
    return table(("kernel", "calls", *(head for run in by_name for head in (f"us a call, {run}", "share"))), rows)


def variants(part):
    rows = []
    for row in part["rows"]:
        cells = [row["name"], row["about"]]
        for precision in ("tf32", "f32"):
            seconds, ratio = row["step_seconds"].get(precision), row["ratio"].get(precision)
            cells += ["" if seconds is None else f"{seconds * 1e6:.1f}", "" if ratio is None else f"{ratio:.3f}"]
        loss = {True: "as the baseline's", False: "ANOTHER", None: ""}[row["same_loss"]]
        rows.append((*cells, row.get("rounds", 0), loss, row["tests"] or "", row["problem"] or ""))
    head = ("variant", "", "TF32, us a step", "times as fast", "f32, us a step", "times as fast", "rounds", "loss", "tests", "problem")
    lines = table(head, rows)
    if part["best"]:
        lines += [f"Fastest in TF32: {part['best']}.", ""]
    if part["profiles"]:
        lines += profile_table(part["profiles"])
    return lines


def stress(part):
    lines = [f"The same bits {part['times']} times, of {part['wanted']} wanted.", ""]
    lines += [f"- {line}" for line in part.get("said", [])]
    return lines + ["", *([part["problem"], ""] if part["problem"] else [])]


def sanitizer(part):
    if part["problem"]:
        return [part["problem"], ""]
    rows = [
        (one["tool"], "clean" if one["ok"] else "NOT CLEAN", one["summary"], f"{one['seconds']:.1f}")
        for one in part["tools"]
    ]
    return [f"Sample: `{part['sample']}`.", "", *table(("tool", "", "summary", "seconds"), rows)]
