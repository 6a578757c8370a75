"""Runs a comparison: command line, rounds, checks and report."""

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
from .programs import Failed
from .rows import CONSUME_ROWS, GO, ONE_MPUB, PUBLISH_ROWS, ROWS, ConsumeRow, Runs
from .runners import Runners

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "benches" / "README.md"
PICTURE = ROOT / "benches" / "comparison.svg"
SHOWN = f"![Messages per second of each program, for each workload]({PICTURE.name})\n\n"

# The parts of the report, which are separate sections of the README.
PLAIN, LAYERED, CONSUMING = "comparison", "layers", "consuming"
PARTS = {
    PLAIN: [row for row in PUBLISH_ROWS if not row.layers],
    LAYERED: [row for row in PUBLISH_ROWS if row.layers],
    CONSUMING: list(CONSUME_ROWS),
}

# Minimum ratio of one MPUB to go-nsq; with less the goals do not apply to this machine.
MIN_BATCHING_GAIN = {"64": 7, "1024": 13}

# Maximum spread of the rates on a quiet machine.
MAX_SPREAD = 0.15

# Range of the writes per publish of go-nsq, including those of the handshake.
ONE_WRITE = (1.0, 1.02)


def options(about):
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    names = [row.name for row in ROWS]
    options_help = "option of the producer in nsq_bench"
    add("--rounds", type=positive, help="number of rounds [default: 5; with --quick 3]")
    add("--seconds", type=seconds, help="duration of a run [default: 2; with --quick 0.5]")
    add("--quick", action="store_true", help="short rounds, for a first impression only")
    add("--only", action="append", choices=names, metavar="ROW", help="one of " + ", ".join(names))
    add("--keep", type=Path, metavar="DIR", help="add the other rows of the report in this folder")
    add("--out", type=Path, metavar="DIR", help="folder of the report [default: target/compare]")
    add("--producer-opt", action="append", default=[], metavar="NAME=VALUE", help=options_help)
    add("--strict", action="store_true", help="fail if a row misses a requirement")
    add("--update-readme", action="store_true", help="put the report into benches/README.md")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (3 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (0.5 if chosen.quick else 2.0)
    chosen.rows = [row for row in ROWS if not chosen.only or row.name in chosen.only]
    try:
        chosen.machine, chosen.kept = kept(chosen.keep, chosen.rows)
    except (OSError, ValueError, KeyError) as error:
        parser.error(f"--keep: cannot read the report in {chosen.keep}: {error!r}")
    rows = chosen.rows + [runs.row for runs in chosen.kept]
    for part in PARTS.values():
        if chosen.update_readme and 0 < sum(row in rows for row in part) < len(part):
            parser.error("--update-readme requires all of: " + ", ".join(row.name for row in part))
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


def kept(folder, rows):
    """Returns the machine of an earlier report and its runs, except for these rows."""
    if folder is None:
        return None, []
    report = json.loads((folder / "runs.json").read_text())
    others = [row for row in ROWS if row.name in report["rows"] and row not in rows]
    return report["machine"], [Runs(row, **report["rows"][row.name]) for row in others]


def log(text):
    print(text, file=sys.stderr, flush=True)


def interrupted(*_):
    raise KeyboardInterrupt


def main(about):
    chosen = options(about)
    # So that a signal also stops nsqd.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    try:
        return compare(chosen)
    except KeyboardInterrupt:
        log("interrupted")
    except (Failed, RuntimeError, OSError, subprocess.SubprocessError) as error:
        log(f"the comparison failed: {error}")
    return 1


def compare(chosen):
    target = programs.target_folder(ROOT)
    binaries, consumers = programs.build(ROOT, target)
    program = nsqd.find(ROOT, target)
    load = os.getloadavg()[0]
    if load > 0.5:
        log(f"the machine is busy: its load is {load:.1f}")
    ours = [part for option in chosen.producer_opt for part in ("--producer-opt", option)]
    with ExitStack() as running:
        core = max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        rows = [row for row in chosen.rows if not row.one_core or has_taskset(row, core)]
        prepared = running.enter_context(tempfile.TemporaryDirectory(prefix="actix-nsq-compare-"))
        programs.prepare(binaries, prepared, {row.size for row in rows if row.layers})
        runners = Runners(running, program, core, binaries, consumers, ours, prepared)
        usual = runners.of(next(row for row in ROWS if row.name == "64"))
        machine = describe(usual.nsqd)
        if chosen.kept and chosen.machine != machine:
            raise Failed(f"the kept report is of another day or machine: {chosen.machine}")
        all_runs = chosen.kept + run_rounds(chosen, rows, runners)
        all_runs.sort(key=lambda runs: ROWS.index(runs.row))
        parts = {
            name: [runs for runs in all_runs if runs.row in part]
            for name, part in PARTS.items()
            if any(runs.row in part for runs in all_runs)
        }
        checked = {name: check(name, of, usual) for name, of in parts.items()}
    return publish(chosen, target, parts, machine, checked)


def has_taskset(row, core):
    if core is None or shutil.which("taskset") is None:
        log(f"skipped without taskset: {row.title}")
        return False
    return True


def run_rounds(chosen, rows, runners):
    """Runs every program of every row, round by round."""
    counts = {}
    for row in rows:
        log(f"calibrating {row.title}")
        for program in row.programs:
            counts[row, program] = runners.of(row).calibrate(row, program, chosen.seconds)
    command = command_of(chosen)
    all_runs = [Runs(row, {program.name: [] for program in row.programs}, command) for row in rows]
    for number in range(chosen.rounds):
        for runs in all_runs:
            row = runs.row
            turn = number % len(row.programs)
            for program in row.programs[turn:] + row.programs[:turn]:
                report = runners.of(row).run(row, program, counts[row, program])
                runs.of[program.name].append(report)
            latest = {name: table.rate(of[-1]["rate"]) for name, of in runs.of.items()}
            rates = ", ".join(f"{name} {rate}/s" for name, rate in latest.items())
            log(f"round {number + 1} of {chosen.rounds}, {row.title}: {rates}")
    return all_runs


def check(part, all_runs, runner):
    """Checks whether this part is valid. Returns that, and the texts for the report."""
    valid = True
    texts = ["nsqd counted every message of every run, warm-up included, and answered each OK."]
    if part == CONSUMING:
        texts = ["nsqd had no message left after any run, neither waiting nor in flight."]
    elif part == PLAIN:
        valid &= check_writes(runner, texts)
    else:
        texts.append(
            "nsqd saw the TLS and the compression of its row on each program's connection, "
            "and no other."
        )
        # The same in every row with TLS.
        every = [(name, of[0]["tls"]) for runs in all_runs for name, of in runs.of.items()]
        tls = {name: tls for name, tls in every if tls}
        if tls:
            texts.append(f"TLS was {', '.join(f'{tls} ({name})' for name, tls in tls.items())}.")
    for runs in all_runs:
        minimum = MIN_BATCHING_GAIN.get(runs.row.name)
        if minimum is None:
            continue
        gain = runs.ratio("rate", ONE_MPUB, GO)
        valid &= gain >= minimum
        rating = ", as it should."
        if gain < minimum:
            rating = f": **less than {minimum} x, too little to judge by**."
        texts.append(f"One MPUB of {runs.row.title} is {gain:.1f} x go-nsq{rating}")
    spreads = [(runs.spread(name), runs.row.title) for runs in all_runs for name in runs.of]
    spread, title = max(spreads)
    if spread > MAX_SPREAD:
        texts.append(f"**The machine was not quiet**: ± is up to {spread:.0%} ({title}).")
    return valid, texts


def check_writes(runner, texts):
    """Checks that go-nsq makes one write per publish."""
    row = next(row for row in ROWS if row.name == "64")
    program = next(program for program in row.programs if program.name == GO)
    writes = programs.writes_per_publish(runner, row, program)
    if writes is None:
        texts.append("The writes per publish of go-nsq were not checked: no working strace.")
        return True
    valid = ONE_WRITE[0] <= writes <= ONE_WRITE[1]
    rating = ", as it should." if valid else ": **not one**."
    texts.append(f"go-nsq makes {writes:.3f} writes per publish{rating}")
    return valid


def describe(server):
    """Describes the machine and the programs."""

    def first_line(*command):
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return output.splitlines()[0]

    try:
        model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        model = None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = model.group(1) if model else platform.processor() or platform.machine()
    go = first_line("go", "version").replace("go version ", "")
    date, system = time.strftime("%Y-%m-%d"), f"{platform.system()} {platform.release()}"
    return [
        f"{date}: {cores} cores, {processor}, {system}",
        f"{server.version()}, go-nsq 1.1.0 built with {go}, tokio-nsq 0.14.0, "
        f"{first_line('rustc', '--version')}",
    ]


def command_of(chosen):
    """Returns the command line with the options that affect the figures."""
    flags = ["--rounds", str(chosen.rounds), "--seconds", f"{chosen.seconds:g}"]
    flags += [part for name in chosen.only or () for part in ("--only", name)]
    flags += [part for option in chosen.producer_opt for part in ("--producer-opt", option)]
    return shlex.join(["benches/compare"] + flags)


def measured(all_runs):
    """Returns for each command what the figures are, and if there are several of which rows."""
    commands = [runs.command for runs in all_runs]
    texts = []
    for command in sorted(dict.fromkeys(commands), key=commands.count, reverse=True):
        of = [runs for runs in all_runs if runs.command == command]
        count = len(next(iter(of[0].of.values())))
        rounds = f"{count} round" if count == 1 else f"{count} rounds"
        rows = f" of {'; '.join(runs.row.title for runs in of)}" if texts else ""
        texts.append(f"`{command}`: medians of {rounds}{rows}")
    texts[0] += "; ± is half the distance between the lowest and the highest"
    return texts


def publish(chosen, target, parts, machine, checked):
    """Prints the report, and writes the files."""
    out = chosen.out or target / "compare"
    out.mkdir(parents=True, exist_ok=True)
    all_runs = [runs for part in parts.values() for runs in part]
    texts = {
        name: table.report(part, machine + measured(part), checked[name][1])
        for name, part in parts.items()
    }
    text = "\n".join(texts.values())
    print(text)
    (out / "report.md").write_text(text)
    publishing = [runs for runs in all_runs if not isinstance(runs.row, ConsumeRow)]
    (out / "picture.svg").write_text(picture.picture(publishing, machine[0]))
    checks = [check for _, texts in checked.values() for check in texts]
    rows = {runs.row.name: {"command": runs.command, "of": runs.of} for runs in all_runs}
    report = {"machine": machine, "checks": checks, "rows": rows}
    (out / "runs.json").write_text(json.dumps(report, indent=1))
    log(f"written to {out}: report.md, picture.svg, runs.json")
    if not all(valid for valid, _ in checked.values()):
        log("the comparison is invalid: see its checks in the report")
        return 1
    if chosen.update_readme:
        for name, part in texts.items():
            update_readme(name, SHOWN + part if name == PLAIN else part)
        if PLAIN in parts:
            PICTURE.write_text(picture.picture(parts[PLAIN], machine[0]))
    missed = any(rating == "missed" for runs in all_runs for _, _, rating in table.judge(runs))
    return int(chosen.strict and missed)


def update_readme(part, text):
    README.write_text(replaced(README.read_text(), part, text))


def replaced(page, part, text):
    """Returns the page with `text` between the markers of the part."""
    begin, end = f"<!-- begin {part} -->\n", f"<!-- end {part} -->\n"
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return before + begin + text + end + after
