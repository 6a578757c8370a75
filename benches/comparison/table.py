"""The report: tables as Markdown, and a rating on each row."""

from .rows import GO, OURS, TOKIO

WORDS = {"aim": "reaches the aim", "must": "reaches what it must, short of the aim", "missed": "**falls short**"}


def rate(number):
    return f"{number:,.0f}"


def ratio(number):
    return f"{number:.3f}" if number < 0.1 else f"{number:.2f}" if number < 10 else f"{number:.1f}"


def microseconds(number):
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def share(number):
    """A goal for the processor's time is better read as a part of one."""
    return f"1/{1 / number:.1f}" if 0 < number < 0.5 else ratio(number)


def columns(runs):
    """The head of each column, and what stands in it for a program."""
    row, to = runs.row, runs.ratio
    yield "messages/s", lambda name: rate(runs.median(name, "rate"))
    yield "±", lambda name: f"{runs.spread(name):.0%}"
    if row.floor:
        yield "share of the floor", lambda name: ratio(to("rate", name, row.floor))
    yield "x go-nsq", lambda name: ratio(to("rate", name, GO))
    yield "x tokio-nsq", lambda name: ratio(to("rate", name, TOKIO))
    yield "CPU µs per message", lambda name: f"{runs.median(name, 'cpu_us_per_message'):.3f}"
    yield "to go-nsq", lambda name: share(to("cpu_us_per_message", name, GO))
    times = ("p50_us", "p99_us", "p999_us")
    yield "p50 / p99 / p99.9 µs", lambda name: " / ".join(microseconds(runs.median(name, what)) for what in times)
    yield "allocations", lambda name: counted(runs.median(name, "allocs_per_message"))


def counted(number):
    return "" if number is None else f"{number:.2f}"


def table(runs):
    """Every program of a row."""
    heads, cells = zip(*columns(runs))
    lines = [f"### {runs.row.title}\n\n| | " + " | ".join(heads) + " |\n|---|" + "--:|" * len(heads) + "\n"]
    for program in runs.row.programs:
        name = f"**{program.name}**" if program.name == OURS else program.name
        lines.append("| " + " | ".join([name] + [cell(program.name) for cell in cells]) + " |\n")
    return "".join(lines)


def judge(runs):
    """Each goal of a row with what was reached, and the rating."""
    for goal in runs.row.goals:
        reached = runs.ratio(goal.what, OURS, goal.peer)
        yield goal, reached, goal.rating(reached)


def judgement(all_runs):
    lines = ["### What must be reached\n\n| | | reached | must | aim | |\n|---|---|--:|--:|--:|---|\n"]
    for runs in all_runs:
        title = runs.row.title
        for goal, reached, rating in judge(runs):
            text = ratio if goal.more_is_better or goal.what == "p50_us" else share
            cells = [title, goal.text(), text(reached), text(goal.must), text(goal.aim), WORDS[rating]]
            lines.append("| " + " | ".join(cells) + " |\n")
            title = ""
    return "".join(lines)


def report(all_runs, machine, checks):
    """All of it."""
    parts = ["".join(f"* {line}\n" for line in machine)]
    parts += [table(runs) for runs in all_runs]
    parts += [judgement(all_runs), "### The comparison's own checks\n\n" + "".join(f"* {text}\n" for text in checks)]
    return "\n".join(parts)
