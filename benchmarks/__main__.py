"""Run our scripts and the tutorial's loops in turns, and measure both from outside.

    python -m benchmarks                 (or: make bench)
    python -m benchmarks gather          or train, demo, start, growth
    python -m benchmarks demo --cores 1 2 --repeats 5
    python -m benchmarks adapt --help    what a few crops of a new place are worth
    python -m benchmarks methods --help  other ways of telling life, see docs/methods.md

prints tables, and keeps every sample in benchmarks/results.json; growth draws
benchmarks/growth.png. The first run makes its footage, see benchmarks/footage.py. For
Linux. Nothing else should be running.
"""

import argparse
import csv
import importlib.metadata
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import linear_regression, median

# Only the standard library above: a process is not counted below the peak memory of the
# one that starts it, so this one must stay small.

DATA = Path("benchmarks/data")
RESULTS = Path("benchmarks/results.json")
WARM_UP = 30  # frames before the demo's speed is measured
POLL_SECONDS = 0.005  # the precision of times in the log

# What is measured: unit, and whether more is better.
FIGURES = {
    "wall": ("wall s", False),  # of the whole process
    "cpu": ("CPU s", False),  # of all its threads, user and system
    "memory": ("MB", False),  # resident, at its peak
    "rate": ("frames/s", True),  # after WARM_UP
    "first": ("first label s", False),  # from the start of the process
    "epoch": ("epoch s", False),  # building the network included
    "accuracy": ("accuracy", True),
}

GATHER, TRAIN, DEMO = "gather_examples.py", "train.py", "liveness_demo.py"
TUTORIAL = "-m benchmarks.tutorial"
LIMIT = "-m benchmarks.limits"
WRONG = "--no-such-flag"
# {data} is benchmarks/data, {out} an empty folder, {log} and {report} files in it from
# which the figures are read.
YUNET = "face_detector/face_detection_yunet_2023mar.onnx"
GATHER_FLAGS = "-o {out}/crops -d face_detector"
GATHER_YUNET = f"-o {{out}}/crops -d {YUNET}"
TRAIN_FLAGS = "-l {out}/le.pickle -p {out}/plot.png --report {report}"
SAME_RECIPE = f"{TRAIN} {TRAIN_FLAGS} -m {{out}}/l.model --recipe tutorial"
DEMO_FLAGS = "-l {data}/le.pickle -d face_detector --log {log}"

# Part to work to way to command.
PARTS = {
    "gather": {
        name: {
            "tutorial": f"{TUTORIAL} gather {GATHER_FLAGS} -i {{data}}/{source}",
            "res10": f"{GATHER} {GATHER_FLAGS} -i {{data}}/{source}",
            "YuNet": f"{GATHER} {GATHER_YUNET} -i {{data}}/{source}",
            "limit (decoding)": f"{LIMIT} decode {{data}}/{source} 16",
        }
        for name, source in {
            "gather, 1080p video of 480 frames": "1080p.mp4",
            "gather, 720p video of 480 frames": "720p.mp4",
            "gather, 200 photographs": "photos",
        }.items()
    },
    "train": {
        "train, 311 crops": {
            "tutorial": f"{TUTORIAL} train {TRAIN_FLAGS} -m {{out}}/l.keras "
            "-d {data}/crops",
            "same recipe": f"{SAME_RECIPE} --split random -d {{data}}/crops",
            "default recipe, one network": f"{TRAIN} {TRAIN_FLAGS} -m {{out}}/l.model "
            "--split random -d {data}/crops",
            "default recipe, all crops": f"{TRAIN} {TRAIN_FLAGS} -m {{out}}/l.model "
            "-d {data}/crops",
            "limit of same recipe": f"{LIMIT} train 8 233",
        },
        "train, 20 000 crops, 2 epochs": {
            "tutorial": f"{TUTORIAL} train {TRAIN_FLAGS} -m {{out}}/l.keras "
            "-d {data}/many --epochs 2",
            "same recipe": f"{SAME_RECIPE} --split random -d {{data}}/many --epochs 2",
            "limit of same recipe": f"{LIMIT} train 8 15000",
        },
    },
    "demo": {
        name: {
            "tutorial": f"{TUTORIAL} demo {DEMO_FLAGS} -m {{data}}/liveness.keras "
            f"-i {{data}}/{source}",
            "ours, Keras": f"{DEMO} {DEMO_FLAGS} -m {{data}}/liveness.model "
            f"-i {{data}}/{source} --no-display",
            "ours, ONNX": f"{DEMO} {DEMO_FLAGS} -m {{data}}/liveness.onnx "
            f"-i {{data}}/{source} --no-display",
            "ours, ONNX and YuNet": f"{DEMO} -l {{data}}/le.pickle -d {YUNET} "
            "--log {log} -m {data}/liveness.onnx --no-display "
            f"-i {{data}}/{source}",
            "limit (decoding)": f"{LIMIT} decode {{data}}/{source}",
        }
        for name, source in {
            "demo, one face, 720p": "720p.mp4",
            "demo, one face, 1080p": "1080p.mp4",
            "demo, five faces, 1080p": "five.mp4",
        }.items()
    },
    "start": {
        what: {script: f"{script} {flags}" for script in (GATHER, TRAIN, DEMO)}
        for what, flags in {
            "start, --help": "--help",
            "start, wrong arguments": WRONG,
        }.items()
    },
}


def measure(command: str) -> dict[str, float]:
    """Run a command as a process of its own; give what FIGURES names.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    with tempfile.TemporaryDirectory(dir=DATA) as out:
        log, report = Path(out, "log.csv"), Path(out, "report.json")
        command = command.format(data=DATA, out=out, log=log, report=report)
        stdout, stderr = Path(out, "stdout"), Path(out, "stderr")
        with stdout.open("w") as output, stderr.open("w") as errors:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *command.split()], stdout=output, stderr=errors
            )
            ended, sizes = threading.Event(), []
            if str(log) in command:
                watcher = threading.Thread(target=watch, args=(log, ended, sizes))
                watcher.daemon = True
                watcher.start()
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        if process.returncode != (2 if WRONG in command else 0):
            raise RuntimeError(f"{command}\n{stderr.read_text()}")
        figures = {
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime,
            "memory": usage.ru_maxrss / 1024,
        }
        text = stdout.read_text()
        if LIMIT in command:
            return json.loads(text)
        if accuracy := re.search(r"\baccuracy +([\d.]+)", text):
            figures["accuracy"] = float(accuracy[1])
        if report.exists():
            trained = json.loads(report.read_text())
            epochs = len(trained["history"]["loss"])
            figures["epoch"] = trained["seconds"]["training"] / epochs
        if str(log) in command:
            watcher.join()
            figures |= read_log(log, sizes, start)
        return figures


def watch(log: Path, ended: threading.Event, sizes: list) -> None:
    """Note when a file has grown to which size, until the event is set."""
    while not ended.wait(POLL_SECONDS):
        size = log.stat().st_size if log.exists() else 0
        if size and (not sizes or size > sizes[-1][1]):
            sizes.append((time.perf_counter(), size))


def read_log(log: Path, sizes: list, start: float) -> dict[str, float]:
    """Tell from the growth of a log with a line per face how fast frames came."""
    content = log.read_bytes()
    frames = [
        int(row["frame"]) for row in csv.DictReader(content.decode().splitlines())
    ]
    rows = [(t, content.count(b"\n", 0, size) - 1) for t, size in sizes]
    times = [(t, frames[row - 1]) for t, row in rows if row]
    warm, first = next((t, n) for t, n in times if n >= WARM_UP)
    end, last = times[-1]
    return {
        "first": times[0][0] - start,
        "rate": (last - first) / (end - warm),
        "faces": len(frames) / len(set(frames)),  # in each frame that has some
    }


def compare(part: str, repeats: int, cores: int) -> list[dict]:
    """Measure all works of a part, its ways in turns; print a table of each."""
    results = []
    for work, ways in PARTS[part].items():
        samples = {way: [] for way in ways}
        for _ in range(repeats):
            for way, command in ways.items():
                print(f"  {work}: {way}", file=sys.stderr)
                samples[way].append(measure(command))
        print_table(f"{work}; cores: {cores}", samples)
        results.append({"work": work, "cores": cores, "samples": samples})
    return results


def print_table(title: str, samples: dict[str, list[dict]]) -> None:
    """Print medians, each with how many times better it is than the tutorial's."""
    medians = {way: find_medians(runs) for way, runs in samples.items()}
    names = [name for name in FIGURES if any(name in m for m in medians.values())]
    print(f"\n| {title} | {' | '.join(FIGURES[n][0] for n in names)} |")
    print("|---" * (len(names) + 1) + "|")
    base = medians.get("tutorial", {})
    for way, figures in medians.items():
        cells = []
        for name in names:
            value, other = figures.get(name), base.get(name)
            cell = "" if value is None else f"{value:.3g}"
            if value and other and way != "tutorial":
                better = value / other if FIGURES[name][1] else other / value
                cell += f" ({better:.2f}x)"
            cells.append(cell)
        print(f"| {way} | {' | '.join(cells)} |", flush=True)


def find_medians(runs: list[dict]) -> dict[str, float]:
    """Give the median of each figure over several runs."""
    return {name: median(run[name] for run in runs) for name in runs[0]}


def link(files: list[Path], folder: Path) -> Path:
    """Put links to files into a folder, numbered, as often as each is named."""
    for number, file in enumerate(files):
        target = folder / file.parent.name / f"{number:06d}{file.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(file)
    return folder


def growth_series(folder: Path) -> dict[str, dict[int, str]]:
    """Give what grows: for each thing, its sizes with their commands."""
    video = DATA / "height-1080.mp4"
    fake, real = (sorted((DATA / "many" / kind).iterdir()) for kind in ("fake", "real"))
    videos = {n: link([video] * n, folder / f"videos-{n}") for n in (1, 2, 4, 8, 16)}
    crops = {
        n: link(fake[: n // 2] + real[: n // 2], folder / f"crops-{n}")
        for n in (1250, 2500, 5000, 10_000, 20_000)
    }
    demo = f"{DEMO} {DEMO_FLAGS} -m {{data}}/liveness.onnx --no-display -i {{data}}"
    return {
        "frames of a gathering": {
            120 * n: f"{GATHER} {GATHER_FLAGS} -i {path}" for n, path in videos.items()
        },
        "crops of an epoch": {
            n: f"{SAME_RECIPE} --split random --epochs 1 -d {path}"
            for n, path in crops.items()
        },
        "faces in a frame": {n: f"{demo}/faces-{n}.mp4" for n in (1, 2, 4, 8)},
        "pixels of a frame": {
            h * h * 16 // 9: f"{demo}/height-{h}.mp4" for h in (270, 540, 1080, 2160)
        },
    }


def grow(repeats: int, cores: int) -> list[dict]:
    """Measure how the cost of ours grows with the work; print exponents, draw."""
    results = []
    print(f"\n| what grows; cores: {cores} | s at each size | exponent | MB |")
    print("|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=DATA) as folder:
        for what, commands in growth_series(Path(folder)).items():
            samples = {size: [] for size in commands}
            for _ in range(repeats):
                for size, command in commands.items():
                    print(f"  {what}: {size}", file=sys.stderr)
                    samples[size].append(measure(command))
            medians = [find_medians(runs) for runs in samples.values()]
            # Faces as many as were found; the demo's cost is that of a frame.
            is_demo = "rate" in medians[0]
            sizes = [m["faces"] for m in medians] if "faces" in what else list(samples)
            costs = [1 / m["rate"] if is_demo else m["wall"] for m in medians]
            exponent = fit_exponent(sizes, costs, from_smallest=not is_demo)
            points = ", ".join(
                f"{size:.4g}: {cost:.3g}"
                for size, cost in zip(sizes, costs, strict=True)
            )
            memory = ", ".join(f"{m['memory']:.0f}" for m in medians)
            print(f"| {what} | {points} | {exponent:.2f} | {memory} |", flush=True)
            fit = {"sizes": sizes, "costs": costs, "exponent": exponent}
            results.append({"work": what, "cores": cores, **fit, "samples": samples})
    return results


def fit_exponent(sizes: list, costs: list, from_smallest: bool) -> float:
    """Fit p of cost ~ size ** p, as the slope of a line through the logarithms.

    What a process costs before it does any work would hide the slope: `from_smallest`
    counts sizes and costs from the smallest on.
    """
    if from_smallest:
        sizes = [size - sizes[0] for size in sizes[1:]]
        costs = [max(cost - costs[0], 1e-6) for cost in costs[1:]]
    x, y = ([math.log(value) for value in values] for values in (sizes, costs))
    return linear_regression(x, y).slope


def draw_growth(results: list[dict], path: Path) -> None:
    """Draw cost over size, a panel for each of the first four results."""
    from matplotlib.figure import Figure

    figure = Figure((9, 7), layout="constrained")
    for axes, result in zip(figure.subplots(2, 2).flat, results, strict=False):
        sizes, costs = result["sizes"], result["costs"]
        axes.loglog(sizes, costs, "o-", label=f"exponent {result['exponent']:.2f}")
        straight = [costs[-1] * size / sizes[-1] for size in sizes]
        axes.loglog(sizes, straight, ":", color="grey", label="exponent 1")
        axes.set_xticks(sizes, [f"{size:,.0f}" for size in sizes])
        axes.set_xticks([], minor=True)
        axes.set_xlabel(result["work"])
        axes.set_ylabel("seconds")
        axes.legend()
    figure.savefig(path, dpi=100)


def describe_machine() -> dict:
    """Say what the figures were measured on."""
    cpus = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    packages = ["opencv-python", "tensorflow", "keras", "numpy", "scikit-learn"]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "cpu": cpus[0] if cpus else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(pages / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in packages},
        "load_before": os.getloadavg()[0],
    }


def main() -> None:
    """Run what the command line asks for."""
    if sys.argv[1:2] in (["adapt"], ["methods"]):
        command = [sys.executable, "-m", f"benchmarks.{sys.argv[1]}", *sys.argv[2:]]
        raise SystemExit(subprocess.run(command).returncode)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    all_cores = sorted(os.sched_getaffinity(0))
    names = [*PARTS, "growth"]
    parser.add_argument("part", nargs="?", choices=names, help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--cores", type=int, nargs="+", default=[len(all_cores)], help="default: all"
    )
    args = parser.parse_args()
    subprocess.run([sys.executable, "-m", "benchmarks.footage"], check=True)
    for part in [args.part] if args.part else names:
        machine, works = describe_machine(), []
        for cores in args.cores:
            os.sched_setaffinity(0, all_cores[:cores])  # inherited by what is started
            run = [args.repeats, cores]
            works += grow(*run) if part == "growth" else compare(part, *run)
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        results[part] = {"machine": machine, "works": works}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    if "growth" in results:  # only now, as matplotlib makes this process large
        draw_growth(results["growth"]["works"], Path("benchmarks/growth.png"))


if __name__ == "__main__":
    main()
