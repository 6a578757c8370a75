"""Tests of the report: python3 -m unittest discover -s benches -t benches"""

import json
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from xml.dom import minidom

from . import picture, table
from .bodies import bodies
from .consuming import ConsumeRunner
from .main import PARTS, README, kept, measured, replaced
from .programs import Failed, Runner, layers_of
from .rows import (
    BATCHES, CLOSURE, CONSUME_ROWS, FINS, GO, HANDLE, MAX_BODY, ONE_MPUB, OURS, PUBLISH_ROWS, PUBS,
    ROWS, TOKIO, Goal, Layers, Runs,
)


def runs(rates, row=ROWS[0], cpu=1.0, allocations=2.3, command=""):
    """Runs with these rates of each program, round by round."""

    def run(rate):
        times = {name: 1e6 / rate for name in ("p50_us", "p99_us", "p999_us")}
        return {"rate": rate, "cpu_us_per_message": cpu, "allocs_per_message": allocations, **times}

    return Runs(row, {name: [run(rate) for rate in of] for name, of in rates.items()}, command)


def row_of(name):
    return next(row for row in ROWS if row.name == name)


class NoServer:
    address, core = "host:1", None


class Report(unittest.TestCase):
    def test_goal_is_reached_at_its_bound_and_missed_below_it(self):
        more = Goal("rate", GO, 4.2, 5.5)
        ratings = ["aim", "must", "must", "missed"]
        self.assertEqual([more.rating(ratio) for ratio in (5.5, 5.49, 4.2, 4.19)], ratings)
        less = Goal("cpu_us_per_message", GO, 0.1, 0.05)
        self.assertEqual([less.rating(ratio) for ratio in (0.05, 0.051, 0.1, 0.11)], ratings)
        count = Goal("allocs_per_message", None, 2.5, 2.1)
        self.assertEqual([count.rating(number) for number in (2.1, 2.11, 2.5, 2.51)], ratings)

    def test_median_ignores_an_outlier(self):
        of = runs({OURS: [400, 410, 5], GO: [100, 9000, 90]})
        self.assertEqual(of.median(OURS, "rate"), 400)
        self.assertEqual(of.ratio("rate", OURS, GO), 4)
        self.assertEqual(runs({OURS: [1, 2, 3, 100]}).median(OURS, "rate"), 2.5)
        of = runs({OURS: [1, 2]}, allocations=None)
        self.assertIsNone(of.median(OURS, "allocs_per_message"))

    def test_spread_is_half_of_the_range(self):
        self.assertAlmostEqual(runs({OURS: [90, 100, 130]}).spread(OURS), 0.2)

    def test_row_has_the_programs_of_its_goals(self):
        for row in ROWS:
            names = {program.name for program in row.programs}
            self.assertTrue({OURS, GO} <= names, row.name)
            self.assertEqual(TOKIO in names, row.name != "pipeline")
            self.assertTrue({goal.program for goal in row.goals} <= names, row.name)
            for goal in row.goals:
                self.assertEqual(goal.peer in names, goal.what != "allocs_per_message", row.name)
                if goal.aim != goal.must:
                    self.assertEqual(goal.aim > goal.must, goal.more_is_better, row.name)
        for row in PUBLISH_ROWS:
            names = {program.name for program in row.programs}
            has_floor = row.layers is None and not row.delay_us
            self.assertEqual(row.floor in names, has_floor, row.name)
            # nsqd accepts the floor's one MPUB.
            if ONE_MPUB in names:
                self.assertLessEqual(4 + row.concurrency * (4 + row.size), MAX_BODY, row.name)

    def test_report_has_a_line_for_each_program_and_goal(self):
        row = ROWS[0]
        floors = {ONE_MPUB: [800_000], PUBS: [150_000]}
        clients = {OURS: [520_000], HANDLE: [600_000], GO: [100_000], TOKIO: [200_000]}
        of = runs({**clients, **floors}, row)
        text = table.table(of)
        self.assertIn("| **actix-nsq** | 520,000 | 0% | 0.65 | 5.20 | 2.60 | 1.000 |", text)
        self.assertIn("| **actix-nsq, handle** | 600,000 | 0% | 0.75 |", text)
        ratings = [(goal.peer, reached, rating) for goal, reached, rating in table.judge(of)]
        self.assertEqual(ratings[0], (ONE_MPUB, 0.65, "must"))
        self.assertEqual(ratings[1], (GO, 5.2, "must"))
        self.assertEqual(ratings[2], (TOKIO, 2.6, "aim"))
        self.assertEqual(ratings[3], (ONE_MPUB, 1, "aim"))
        self.assertEqual(ratings[4], (GO, 1, "missed"))
        self.assertEqual(ratings[5], (ONE_MPUB, 0.75, "must"))
        self.assertEqual(ratings[6], (None, 2.3, "missed"))
        text = table.judgement([of])
        self.assertEqual(text.count("**falls short**"), 2)
        line = "actix-nsq, handle: allocations per message | 2.30 | at most 1.10 | at most 0.10 |"
        self.assertIn(line, text)

    def test_consume_row_rates_each_mode_and_has_no_latency(self):
        row = CONSUME_ROWS[0]
        rates = {program.name: [100_000] for program in row.programs}
        of = runs({**rates, OURS: [96_000], BATCHES: [80_000], FINS: [110_000]}, row)
        judged = table.judge(of)
        ratings = {(goal.program, goal.what, goal.peer): rating for goal, _, rating in judged}
        self.assertEqual(ratings[OURS, "rate", TOKIO], "must")
        self.assertEqual(ratings[OURS, "rate", FINS], "must")
        self.assertEqual(ratings[BATCHES, "rate", TOKIO], "missed")
        self.assertEqual(ratings[OURS, "cpu_us_per_message", TOKIO], "missed")
        self.assertEqual(ratings[CLOSURE, "allocs_per_message", None], "must")
        text = table.table(of)
        self.assertIn("| **actix-nsq, batches** | 80,000 | 0% | 0.73 | 0.80 |", text)
        self.assertNotIn("p99", text)
        self.assertIn(f"{BATCHES}: rate to {TOKIO}", table.judgement([of]))

    def test_row_without_a_peer_has_no_column_for_it(self):
        of = runs({OURS: [300_000], GO: [50_000]}, row_of("pipeline"))
        self.assertIn("x go-nsq", table.table(of))
        self.assertNotIn("tokio-nsq", table.table(of))
        self.assertEqual([reached for _, reached, _ in table.judge(of)], [6])

    def test_consumers_have_the_same_flags_and_all_addresses(self):
        binaries = {OURS: ["nsq_bench", "consume"], GO: ["go-nsq", "consume"]}
        runner = ConsumeRunner(binaries, "nsqd")
        row = row_of("one-of-four")
        ours, go = row.programs[:2]
        flags = (
            "--nsqd-tcp-address h:1 --nsqd-tcp-address h:2 --topic compare --channel compare "
            "--max-in-flight 40 --handler-time 20ms --json --messages 3000"
        )
        command = " ".join(runner.command(row, go, 3000, ["h:1", "h:2"]))
        self.assertEqual(command, f"go-nsq consume {flags}")
        command = " ".join(runner.command(row, ours, 3000, ["h:1", "h:2"]))
        self.assertEqual(command, f"nsq_bench consume {flags} --mode closure")
        command = " ".join(runner.command(row_of("pipeline"), go, 7, ["h:1"]))
        flags = "--max-in-flight 2500 --publishers 64 --size 200 --json --messages 7"
        self.assertTrue(command.endswith(flags), command)

    def test_picture_is_valid_xml_with_bars_in_proportion(self):
        row = replace(ROWS[0], title="a < b & c")
        of = runs({OURS: [500_000], GO: [100_000], TOKIO: [1], ONE_MPUB: [800_000]}, row)
        drawn = minidom.parseString(picture.picture([of], "a machine"))
        rects = drawn.getElementsByTagName("rect")
        bars = [rect for rect in rects if rect.getAttribute("class") != "card"]
        widths = [float(bar.getAttribute("width")) for bar in bars]
        self.assertEqual(len(widths), 4)
        self.assertAlmostEqual(widths[0] / widths[3], 500 / 800, places=2)
        self.assertGreaterEqual(min(widths), 1)

    def test_producer_options_are_for_this_client_only(self):
        binaries = {OURS: ["nsq_bench", "publish"], GO: ["go-nsq"]}
        runner = Runner(binaries, NoServer, ["--producer-opt", "a=b"], "prepared")
        row = row_of("topics")
        ours, go = row.programs[:2]
        self.assertEqual(runner.command(row, ours, 7, 3)[-2:], ["--producer-opt", "a=b"])
        command = " ".join(runner.command(row, go, 7, 3))
        start = "go-nsq --nsqd-tcp-address host:1 --topic bench_topics#ephemeral"
        self.assertTrue(command.startswith(start), command)
        flags = "--concurrency 64 --topics 16 --json --size 200 --messages 7 --warmup 3"
        self.assertTrue(command.endswith(flags), command)
        handle = row_of("64").programs[1]
        options = runner.command(row, handle, 7, 3)[-3:]
        self.assertEqual(options, ["--handle", "--producer-opt", "a=b"])

    def test_clients_have_the_same_layers_and_bodies(self):
        binaries = {OURS: ["nsq_bench", "publish"], GO: ["go-nsq"], TOKIO: ["tokio_nsq"]}
        runner = Runner(binaries, NoServer, ["--producer-opt", "a=b"], "prepared")
        row = replace(row_of("tls"), layers=Layers(tls=True, deflate=True))
        commands = [runner.command(row, program, 7, 3) for program in row.programs[:3]]
        layers = "tls_v1=true tls_root_ca_file=prepared/ca.pem deflate=true deflate_level=6"
        options = [part for option in layers.split() for part in ("--producer-opt", option)]
        for command in commands:
            self.assertIn(" ".join(options), " ".join(command))
            self.assertIn("--bodies prepared/bodies-200.txt", " ".join(command))
        own = [command[-2:] == ["--producer-opt", "a=b"] for command in commands]
        self.assertEqual(own, [True, False, False])

    def test_program_with_other_layers_than_its_row_fails(self):
        def producer(agent, **layers):
            plain = {"user_agent": agent, "tls": False, "snappy": False, "deflate": False}
            tls = {"tls_version": "TLS1.3", "tls_cipher_suite": "Unknown 4865"}
            return {**plain, **tls, **layers}

        row = row_of("tls")
        go = row.programs[1]
        seen = [producer("tokio_nsq/0.14.0"), producer("go-nsq/1.1.0", tls=True)]
        self.assertEqual(layers_of(row, go, seen), "TLS1.3 with TLS_AES_128_GCM_SHA256")
        self.assertIsNone(layers_of(ROWS[0], go, [producer("go-nsq/1.1.0")]))
        for row, seen in (
            (row, []),
            (row, [producer("go-nsq/1.1.0")]),
            (row, [producer("go-nsq/1.1.0", tls=True, snappy=True)]),
            (ROWS[0], [producer("go-nsq/1.1.0", deflate=True)]),
        ):
            with self.assertRaises(Failed):
                layers_of(row, go, seen)

    def test_bodies_are_distinct_lines_of_the_size_and_repeatable(self):
        lines = bodies(200)
        self.assertEqual({len(line) for line in lines}, {200})
        self.assertEqual(len(set(lines)), len(lines))
        self.assertEqual(lines, bodies(200))
        self.assertTrue(all(json.loads(line)["event"] for line in lines))

    def test_rows_of_an_earlier_report_are_kept_unless_they_run_again(self):
        of = {OURS: [{"rate": 1}]}
        rows = {name: {"command": "first", "of": of} for name in ("1024", "64", "consume")}
        with tempfile.TemporaryDirectory() as folder:
            report = {"machine": ["a machine"], "checks": [], "rows": rows}
            (Path(folder) / "runs.json").write_text(json.dumps(report))
            machine, others = kept(Path(folder), [row_of("64"), row_of("topics")])
        self.assertEqual(machine, ["a machine"])
        expected = [Runs(row_of(name), of, "first") for name in ("1024", "consume")]
        self.assertEqual(others, expected)

    def test_report_shows_the_command_of_each_row(self):
        first, again = row_of("1024"), row_of("64")
        usual = [runs({OURS: [1, 2]}, row, command="a") for row in (first, row_of("topics"))]
        spread = "; ± is half the distance between the lowest and the highest"
        self.assertEqual(measured(usual), [f"`a`: medians of 2 rounds{spread}"])
        others = [runs({OURS: [1]}, again, command="b"), *usual]
        of_others = f"`b`: medians of 1 round of {again.title}"
        self.assertEqual(measured(others), measured(usual) + [of_others])

    def test_part_of_the_readme_is_replaced_and_the_rest_kept(self):
        page = "1\n<!-- begin a -->\n2\n<!-- end a -->\n3\n<!-- begin b -->\n4\n<!-- end b -->\n"
        self.assertEqual(replaced(page, "b", "5\n"), page.replace("4", "5"))
        for part in PARTS:
            self.assertIn("new", replaced(README.read_text(), part, "new\n"))


if __name__ == "__main__":
    unittest.main()
