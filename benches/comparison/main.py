"""The course of a comparison."""

import argparse
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from . import nsqd, picture, programs, table
from .programs import Failed, Runner
from .rows import FOLDED, GO, ROWS, Runs

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "benches" / "README.md"
PICTURE = ROOT / "benches" / "comparison.svg"
SHOWN = f"![Messages per second of each program, for each workload]({PICTURE.name})\n\n"

# The two parts of the report, each of which stands in the README by itself.
PLAIN_ROWS, LAYERED_ROWS = "comparison", "layers"
PARTS = {
    PLAIN_ROWS: [row for row in ROWS if not row.layers],
    LAYERED_ROWS: [row for row in ROWS if row.layers],
}

# What folding can win at least, or the comparison is not the one that the goals are meant for.
FOLDING = {"64": 7, "1024": 13}

# Rates that differ by more from round to round say what else the machine did.
RESTLESS = 0.15

# A publish of go-nsq is one write; beside them stand those of the handshake.
ONE_WRITE = (1.0, 1.02)


def options(about):
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive, help="how often every program runs [default: 5; with --quick 3]")
    parser.add_argument("--seconds", type=seconds, help="how long a run takes, about [default: 2; with --quick 0.5]")
    parser.add_argument("--quick", action="store_true", help="short rounds: a first look, not to be quoted")
    names = [row.name for row in ROWS]
    parser.add_argument("--only", action="append", choices=names, metavar="ROW", help="of: " + ", ".join(names))
    parser.add_argument("--out", type=Path, metavar="DIR", help="for the report [default: target/compare]")
    parser.add_argument("--producer-opt", action="append", default=[], metavar="NAME=VALUE", help="for nsq_bench")
    parser.add_argument("--strict", action="store_true", help="fail also when a row falls short of what it must reach")
    parser.add_argument("--update-readme", action="store_true", help="put the report into benches/README.md")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (3 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (0.5 if chosen.quick else 2.0)
    chosen.rows = [row for row in ROWS if not chosen.only or row.name in chosen.only]
    for part in PARTS.values():
        if chosen.update_readme and 0 < sum(row in chosen.rows for row in part) < len(part):
            parser.error("--update-readme wants all of: " + ", ".join(row.name for row in part))
    return chosen


def positive(text):
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError("must be from 1 to 1000")
    return int(text)


def seconds(text):
    number = float(text)
    if not 0.1 <= number <= 60:
        raise argparse.ArgumentTypeError("must be from 0.1 to 60")
    return number


def say(text):
    print(text, file=sys.stderr, flush=True)


def interrupted(*_):
    raise KeyboardInterrupt


def main(about):
    chosen = options(about)
    # A signal stops nsqd, too.
    for asked in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(asked, interrupted)
    try:
        return compare(chosen)
    except KeyboardInterrupt:
        say("interrupted")
    except (Failed, RuntimeError, OSError, subprocess.SubprocessError) as error:
        say(f"no comparison: {error}")
    return 1


def compare(chosen):
    target = programs.target_folder(ROOT)
    binaries = programs.build(ROOT, target)
    program = nsqd.find(ROOT, target)
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the machine has something else to do: a load of {load:.1f}")
    ours = [part for option in chosen.producer_opt for part in ("--producer-opt", option)]
    with ExitStack() as running:
        core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        rows = [row for row in chosen.rows if not row.one_core or has_taskset(row, core)]
        prepared = running.enter_context(tempfile.TemporaryDirectory(prefix="actix-nsq-compare-"))
        programs.prepare(binaries, prepared, {row.size for row in rows if row.layers})
        free = Runner(binaries, running.enter_context(nsqd.Nsqd(program, certificate=prepared)), ours, prepared)
        pinned = None
        if any(row.one_core for row in rows):
            pinned = Runner(binaries, running.enter_context(nsqd.Nsqd(program, core)), ours, prepared)
        all_runs = hold(chosen, rows, lambda row: pinned if row.one_core else free)
        machine = describe(chosen, free.nsqd)
        parts = {
            name: [runs for runs in all_runs if runs.row in part]
            for name, part in PARTS.items()
            if any(runs.row in part for runs in all_runs)
        }
        checked = {name: check(name, of, free) for name, of in parts.items()}
    return publish(chosen, target, parts, machine, checked)


def has_taskset(row, core):
    if core is None or shutil.which("taskset") is None:
        say(f"left out, for want of taskset: {row.title}")
        return False
    return True


def hold(chosen, rows, runner_of):
    """Every program of every row, round by round."""
    counts = {}
    for row in rows:
        say(f"calibrating {row.title}")
        for program in row.programs:
            counts[row, program] = runner_of(row).calibrate(row, program, chosen.seconds)
    all_runs = [Runs(row, {program.name: [] for program in row.programs}) for row in rows]
    for number in range(chosen.rounds):
        for runs in all_runs:
            row = runs.row
            turn = number % len(row.programs)
            for program in row.programs[turn:] + row.programs[:turn]:
                said = runner_of(row).run(row, program, counts[row, program])
                runs.of[program.name].append(said)
            rates = ", ".join(f"{name} {table.rate(of[-1]['rate'])}/s" for name, of in runs.of.items())
            say(f"round {number + 1} of {chosen.rounds}, {row.title}: {rates}")
    return all_runs


def check(part, all_runs, runner):
    """Whether this part of the comparison is one: what it checked of itself, and the outcome."""
    sound, said = True, ["nsqd counted every message of every run, warm-up included, and answered each OK."]
    if part == PLAIN_ROWS:
        sound &= one_write(runner, said)
    else:
        said.append("nsqd saw the TLS and the compression of its row on each program's connection, and no other.")
        # Of the rows with TLS each says the same.
        spoken = {name: tls for (_, name), tls in runner.tls.items() if tls}
        said += [f"TLS was {', '.join(f'{tls} ({name})' for name, tls in spoken.items())}."] if spoken else []
    for runs in all_runs:
        least = FOLDING.get(runs.row.name)
        if least is None:
            continue
        times = runs.ratio("rate", FOLDED, GO)
        good = times >= least
        sound &= good
        rating = ", as it should." if good else f": **less than {least} x, too little to judge by**."
        said.append(f"One MPUB of {runs.row.title} is {times:.1f} x go-nsq{rating}")
    spread, title = max((runs.spread(name), runs.row.title) for runs in all_runs for name in runs.of)
    if spread > RESTLESS:
        said.append(f"**The machine was not quiet**: ± is up to {spread:.0%} ({title}).")
    return sound, said


def one_write(runner, said):
    """Whether go-nsq is the client that it is known as."""
    row = next(row for row in ROWS if row.name == "64")
    program = next(program for program in row.programs if program.name == GO)
    writes = programs.writes_per_publish(runner, row, program)
    if writes is None:
        said.append("That go-nsq makes one write per publish was not checked, for want of a working strace.")
        return True
    good = ONE_WRITE[0] <= writes <= ONE_WRITE[1]
    said.append(f"go-nsq makes {writes:.3f} writes per publish" + (", as it should." if good else ": **not one**."))
    return good


def describe(chosen, server):
    """The machine, the programs and the command."""
    def first_line(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = model.group(1) if model else platform.processor() or platform.machine()
    # What decides the figures; where they are written to does not.
    flags = ["--rounds", str(chosen.rounds), "--seconds", f"{chosen.seconds:g}"]
    flags += [part for name in chosen.only or () for part in ("--only", name)]
    flags += [part for option in chosen.producer_opt for part in ("--producer-opt", option)]
    command = shlex.join(["benches/compare"] + flags)
    rounds = "round" if chosen.rounds == 1 else "rounds"
    return [
        f"{time.strftime('%Y-%m-%d')}: {cores} cores, {processor}, {platform.system()} {platform.release()}",
        f"{server.version()}, go-nsq 1.1.0 built with {first_line('go', 'version').replace('go version ', '')}, "
        f"tokio-nsq 0.14.0, {first_line('rustc', '--version')}",
        f"`{command}`: medians of {chosen.rounds} {rounds} of about {chosen.seconds:g} s for each program; "
        "± is half the distance between the slowest and the fastest",
    ]


def publish(chosen, target, parts, machine, checked):
    """Prints the report, and writes what belongs to it."""
    out = chosen.out or target / "compare"
    out.mkdir(parents=True, exist_ok=True)
    all_runs = [runs for part in parts.values() for runs in part]
    texts = {name: table.report(part, machine, checked[name][1]) for name, part in parts.items()}
    text = "\n".join(texts.values())
    print(text)
    (out / "report.md").write_text(text)
    (out / "picture.svg").write_text(picture.picture(all_runs, machine[0]))
    kept = {runs.row.name: runs.of for runs in all_runs}
    checks = [check for _, said in checked.values() for check in said]
    (out / "runs.json").write_text(json.dumps({"machine": machine, "checks": checks, "runs": kept}, indent=1))
    say(f"written to {out}: report.md, picture.svg, runs.json")
    if not all(sound for sound, _ in checked.values()):
        say("the comparison is not sound: see its own checks")
        return 1
    if chosen.update_readme:
        for name, part in texts.items():
            update_readme(name, SHOWN + part if name == PLAIN_ROWS else part)
        if PLAIN_ROWS in parts:
            PICTURE.write_text(picture.picture(parts[PLAIN_ROWS], machine[0]))
    missed = any(rating == "missed" for runs in all_runs for _, _, rating in table.judge(runs))
    return int(chosen.strict and missed)


def update_readme(part, text):
    README.write_text(replaced(README.read_text(), part, text))


def replaced(page, part, text):
    """The page with this text between the marks of the part."""
    begin, end = f"<!-- begin {part} -->\n", f"<!-- end {part} -->\n"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return before + begin + text + end + after
