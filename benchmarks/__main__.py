"""Time our scripts against the tutorial's loops, as whole processes in turns.

    python -m benchmarks                 (or: make bench)
    python -m benchmarks gather          or train, demo
    python -m benchmarks demo --cores 1 2 --repeats 5

prints a table for each comparison: medians, and in brackets how many times better than
the tutorial. The first run makes its footage (footage.py). Linux only. Nothing else
should run at the same time.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

# Standard library only. The peak memory of a child process is never reported lower
# than that of the process that started it, so this one must stay small.

DATA = Path("benchmarks/data")
WARM_UP = 30  # frames before the demo's speed is measured
POLL_SECONDS = 0.005  # how precisely the growth of the demo's log is timed

# What is measured: column title, and whether more is better.
FIGURES = {
    "wall": ("wall s", False),  # of the whole process
    "cpu": ("CPU s", False),  # user and system time of all threads
    "memory": ("MB", False),  # peak resident memory
    "rate": ("frames/s", True),  # after WARM_UP
    "first": ("first label s", False),  # from the start of the process
}

TUTORIAL = "-m benchmarks.tutorial"
# {data} is benchmarks/data, {out} an empty folder, {log} a file in it.
GATHER = "-o {out}/crops -i {data}/"
TRAIN = "-l {out}/le.pickle -p {out}/plot.png -d {data}/"
OUR_TRAIN = f"train.py -m {{out}}/liveness.model {TRAIN}"
DEMO = "-l {data}/le.pickle --log {log} -i {data}/"
OUR_DEMO = f"liveness_demo.py --no-display {DEMO}"
KERAS, ONNX = "-m {data}/liveness.model", "-m {data}/liveness.onnx"

# Commands by part, title of the table, and row.
PARTS = {
    "gather": {
        title: {
            "tutorial": f"{TUTORIAL} gather {GATHER}{source}",
            "res10": f"gather_examples.py {GATHER}{source} -d res10",
            "YuNet": f"gather_examples.py {GATHER}{source} -d yunet",
        }
        for title, source in {
            "gather, 1080p video of 480 frames": "1080p.mp4",
            "gather, 720p video of 480 frames": "720p.mp4",
            "gather, 200 photographs": "photos",
        }.items()
    },
    "train": {
        title: {
            "tutorial": f"{TUTORIAL} train -m {{out}}/l.keras {TRAIN}{crops}",
            "same recipe, one network": f"{OUR_TRAIN}{crops} --recipe tutorial "
            "--split random",
            "default recipe, all crops": f"{OUR_TRAIN}{crops}",
        }
        for title, crops in {
            "train, 311 crops": "crops",
            "train, 20 000 crops, 2 epochs": "many --epochs 2",
        }.items()
    },
    "demo": {
        title: {
            "tutorial": f"{TUTORIAL} demo -m {{data}}/liveness.keras {DEMO}{source}",
            "Keras, res10": f"{OUR_DEMO}{source} {KERAS} -d res10",
            "ONNX, res10": f"{OUR_DEMO}{source} {ONNX} -d res10",
            "ONNX, YuNet": f"{OUR_DEMO}{source} {ONNX} -d yunet",
        }
        for title, source in {
            "demo, one face, 720p": "720p.mp4",
            "demo, one face, 1080p": "1080p.mp4",
            "demo, five faces, 1080p": "five.mp4",
        }.items()
    },
}


def measure(command: str) -> dict[str, float]:
    """Run a command as a process of its own and return its FIGURES.

    Raises
    ------
    RuntimeError
        When it fails.
    """
    with tempfile.TemporaryDirectory(dir=DATA) as out:
        log, messages = Path(out, "log.csv"), Path(out, "messages")
        command = command.format(data=DATA, out=out, log=log)
        is_demo = str(log) in command
        ended, sizes = threading.Event(), []
        watcher = threading.Thread(target=watch_size, args=(log, ended, sizes))
        with messages.open("w") as output:
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, *command.split()], stdout=output, stderr=output
            )
            if is_demo:
                watcher.start()
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        if process.returncode:
            raise RuntimeError(f"{command}\n{messages.read_text()}")
        figures = {
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime,
            "memory": usage.ru_maxrss / 1024,
        }
        if is_demo:
            watcher.join()
            figures |= time_log(log, sizes, start)
        return figures


def watch_size(log: Path, ended: threading.Event, sizes: list) -> None:
    """Append (time, size in bytes) each time the file has grown."""
    while not ended.wait(POLL_SECONDS):
        size = log.stat().st_size if log.exists() else 0
        if size and (not sizes or size > sizes[-1][1]):
            sizes.append((time.perf_counter(), size))


def time_log(log: Path, sizes: list, start: float) -> dict[str, float]:
    """Compute frames/s and the time to the first label from how the log grew."""
    content = log.read_bytes()
    lines = content.decode().splitlines()
    frames = [int(row["frame"]) for row in csv.DictReader(lines)]
    times = []  # when the label of which frame was in the log
    for moment, size in sizes:
        rows = content.count(b"\n", 0, size) - 1  # without the header
        if rows > 0:
            times.append((moment, frames[rows - 1]))
    warm, first = next((t, number) for t, number in times if number >= WARM_UP)
    end, last = times[-1]
    return {"first": times[0][0] - start, "rate": (last - first) / (end - warm)}


def compare(title: str, commands: dict[str, str], repeats: int) -> None:
    """Run the commands in turns and print a table of medians."""
    runs = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            print(f"  {title}: {name}", file=sys.stderr)
            runs[name].append(measure(command))
    medians = {
        name: {key: median(run[key] for run in own) for key in own[0]}
        for name, own in runs.items()
    }
    base = medians["tutorial"]
    print(f"\n| {title} | {' | '.join(FIGURES[key][0] for key in base)} |")
    print("|---" * (len(base) + 1) + "|")
    for name, own in medians.items():
        cells = []
        for key, value in own.items():
            better = value / base[key] if FIGURES[key][1] else base[key] / value
            ratio = "" if name == "tutorial" else f" ({better:.2f})"
            cells.append(f"{value:.3g}{ratio}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Parse the command line and run the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    all_cores = sorted(os.sched_getaffinity(0))
    parser.add_argument("part", nargs="?", choices=list(PARTS), help="default: all")
    parser.add_argument("--repeats", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--cores", type=int, nargs="+", default=[len(all_cores)], help="default: all"
    )
    args = parser.parse_args()
    subprocess.run([sys.executable, "-m", "benchmarks.footage"], check=True)
    for part in [args.part] if args.part else PARTS:
        for cores in args.cores:
            os.sched_setaffinity(0, all_cores[:cores])  # children inherit it
            for title, commands in PARTS[part].items():
                compare(f"{title}; cores: {cores}", commands, args.repeats)


if __name__ == "__main__":
    main()
