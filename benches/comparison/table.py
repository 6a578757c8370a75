"""The report: Markdown tables, and the rating of each row."""

import textwrap

from .rows import GO, OURS, TOKIO, ConsumeRow

WORDS = {
    "aim": "reaches the aim",
    "must": "reaches what it must, short of the aim",
    "missed": "**falls short**",
}


def rate(number):
    return f"{number:,.0f}"


def ratio(number):
    return f"{number:.3f}" if number < 0.1 else f"{number:.2f}" if number < 10 else f"{number:.1f}"


def microseconds(number):
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def share(number):
    """Formats a ratio of CPU times, as a fraction if it is small."""
    return f"1/{1 / number:.1f}" if 0 < number < 0.5 else ratio(number)


def columns(runs):
    """Yields the head of each column, and a function from a program to its cell."""
    row, to = runs.row, runs.ratio
    yield "messages/s", lambda name: rate(runs.median(name, "rate"))
    yield "±", lambda name: f"{runs.spread(name):.0%}"
    if row.floor:
        yield "share of the floor", lambda name: ratio(to("rate", name, row.floor))
    peers = [peer for peer in (GO, TOKIO) if peer in runs.of]
    for peer in peers:
        yield f"x {peer}", lambda name, peer=peer: ratio(to("rate", name, peer))
    yield "CPU µs per message", lambda name: f"{runs.median(name, 'cpu_us_per_message'):.3f}"
    if isinstance(row, ConsumeRow):
        yield "±", lambda name: f"{runs.spread(name, 'cpu_us_per_message'):.0%}"
    for peer in peers:
        yield f"to {peer}", lambda name, peer=peer: share(to("cpu_us_per_message", name, peer))
    if not isinstance(row, ConsumeRow):
        times = ("p50_us", "p99_us", "p999_us")
        yield "p50 / p99 / p99.9 µs", lambda name: " / ".join(
            microseconds(runs.median(name, what)) for what in times
        )
    yield "allocations", lambda name: optional(runs.median(name, "allocs_per_message"))


def optional(number):
    return "" if number is None else f"{number:.2f}"


def table(runs):
    """Returns the table of a row."""
    heads, cells = zip(*columns(runs))
    lines = [f"### {runs.row.title}\n\n| | {' | '.join(heads)} |\n|---|{'--:|' * len(heads)}\n"]
    for program in runs.row.programs:
        name = f"**{program.name}**" if program.binary == OURS else program.name
        lines.append("| " + " | ".join([name] + [cell(program.name) for cell in cells]) + " |\n")
    return "".join(lines)


def judge(runs):
    """Yields each goal of a row with the measured ratio and the rating."""
    for goal in runs.row.goals:
        reached = runs.median(goal.program, goal.what)
        if goal.peer:
            reached = runs.ratio(goal.what, goal.program, goal.peer)
        yield goal, reached, goal.rating(reached)


def judgement(all_runs):
    lines = ["### What must be reached\n\n"]
    lines += ["| | | reached | must | aim | |\n", "|---|---|--:|--:|--:|---|\n"]
    for runs in all_runs:
        title = runs.row.title
        for goal, reached, rating in judge(runs):
            text = share if goal.what == "cpu_us_per_message" else ratio
            most = "" if goal.peer else "at most "
            ratios = [text(reached), most + text(goal.must), most + text(goal.aim)]
            cells = [title, goal.text(), *ratios, WORDS[rating]]
            lines.append("| " + " | ".join(cells) + " |\n")
            title = ""
    return "".join(lines)


def report(all_runs, machine, checks):
    """Returns the whole report."""
    parts = [bullets(machine)]
    parts += [table(runs) for runs in all_runs]
    parts += [judgement(all_runs), "### The comparison's own checks\n\n" + bullets(checks)]
    return "\n".join(parts)


def bullets(lines):
    wrapper = textwrap.TextWrapper(100, initial_indent="* ", subsequent_indent="  ")
    wrapper.break_long_words = wrapper.break_on_hyphens = False
    return "".join(wrapper.fill(line) + "\n" for line in lines)
