"""Tests of what decides in the report: python3 -m unittest discover -s benches -t benches"""

import json
import unittest
from dataclasses import replace
from xml.dom import minidom

from . import picture, table
from .bodies import bodies
from .main import PARTS, README, replaced
from .programs import Failed, Runner, layers_of
from .rows import FOLDED, GO, MAX_BODY, OURS, PLAIN, ROWS, TOKIO, Goal, Layers, Runs


def runs(rates, row=ROWS[0], cpu=1.0):
    """Of each program these rates, round by round."""
    def run(rate):
        times = {name: 1e6 / rate for name in ("p50_us", "p99_us", "p999_us")}
        return {"rate": rate, "cpu_us_per_message": cpu, "allocs_per_message": None, **times}

    return Runs(row, {name: [run(rate) for rate in of] for name, of in rates.items()})


class Nowhere:
    address, core = "host:1", None


class Report(unittest.TestCase):
    def test_a_goal_is_reached_at_its_bound_and_missed_below_it(self):
        more = Goal("rate", GO, 4.2, 5.5)
        self.assertEqual([more.rating(at) for at in (5.5, 5.49, 4.2, 4.19)], ["aim", "must", "must", "missed"])
        less = Goal("cpu_us_per_message", GO, 0.1, 0.05)
        self.assertEqual([less.rating(at) for at in (0.05, 0.051, 0.1, 0.11)], ["aim", "must", "must", "missed"])

    def test_an_odd_round_decides_nothing(self):
        of = runs({OURS: [400, 410, 5], GO: [100, 9000, 90]})
        self.assertEqual(of.median(OURS, "rate"), 400)
        self.assertEqual(of.ratio("rate", OURS, GO), 4)
        self.assertEqual(runs({OURS: [1, 2, 3, 100]}).median(OURS, "rate"), 2.5)
        self.assertIsNone(of.median(OURS, "allocs_per_message"))

    def test_the_spread_is_half_of_what_lies_between_the_slowest_and_the_fastest(self):
        self.assertAlmostEqual(runs({OURS: [90, 100, 130]}).spread(OURS), 0.2)

    def test_every_row_is_judged_by_programs_that_it_has(self):
        for row in ROWS:
            names = {program.name for program in row.programs}
            self.assertTrue({OURS, GO, TOKIO} <= names, row.name)
            self.assertEqual(row.floor in names, row.layers is None, row.name)
            self.assertTrue({goal.peer for goal in row.goals} <= names, row.name)
            for goal in row.goals:
                self.assertEqual(goal.aim > goal.must, goal.more_is_better, row.name)
            # nsqd takes the floor's one MPUB.
            if FOLDED in names:
                self.assertLessEqual(4 + row.concurrency * (4 + row.size), MAX_BODY, row.name)

    def test_the_table_has_a_line_for_each_program_and_the_judgement_for_each_goal(self):
        row = ROWS[0]
        of = runs({OURS: [500_000], GO: [100_000], TOKIO: [200_000], FOLDED: [800_000], PLAIN: [150_000]}, row)
        text = table.table(of)
        self.assertIn("| **actix-nsq** | 500,000 | 0% | 0.62 | 5.00 | 2.50 | 1.000 |", text)
        ratings = [(goal.peer, reached, rating) for goal, reached, rating in table.judge(of)]
        self.assertEqual(ratings[0], (FOLDED, 0.625, "must"))
        self.assertEqual(ratings[1], (GO, 5, "must"))
        self.assertEqual(ratings[2], (TOKIO, 2.5, "aim"))
        self.assertEqual(ratings[3], (GO, 1, "missed"))
        self.assertEqual(table.judgement([of]).count("**falls short**"), 1)

    def test_the_picture_is_one_that_can_be_read(self):
        of = runs({OURS: [500_000], GO: [100_000], TOKIO: [1], FOLDED: [800_000]}, replace(ROWS[0], title="a < b & c"))
        drawn = minidom.parseString(picture.picture([of], "a machine"))
        bars = [bar for bar in drawn.getElementsByTagName("rect") if bar.getAttribute("class") != "card"]
        widths = [float(bar.getAttribute("width")) for bar in bars]
        self.assertEqual(len(widths), 4)
        self.assertAlmostEqual(widths[0] / widths[3], 500 / 800, places=2)
        self.assertGreaterEqual(min(widths), 1)

    def test_only_this_client_gets_its_options(self):
        binaries = {OURS: ["nsq_bench", "publish"], GO: ["go-nsq"]}
        runner = Runner(binaries, Nowhere, ["--producer-opt", "a=b"], "prepared")
        row = next(row for row in ROWS if row.name == "topics")
        ours, go = row.programs[:2]
        self.assertEqual(runner.command(row, ours, 7, 3)[-2:], ["--producer-opt", "a=b"])
        command = " ".join(runner.command(row, go, 7, 3))
        self.assertTrue(command.startswith("go-nsq --nsqd-tcp-address host:1 --topic bench_topics#ephemeral"), command)
        flags = "--concurrency 64 --topics 16 --json --size 200 --messages 7 --warmup 3"
        self.assertTrue(command.endswith(flags), command)

    def test_every_client_gets_the_same_layers_and_the_same_bodies(self):
        binaries = {OURS: ["nsq_bench", "publish"], GO: ["go-nsq"], TOKIO: ["tokio_nsq"]}
        runner = Runner(binaries, Nowhere, ["--producer-opt", "a=b"], "prepared")
        row = replace(ROWS[0], layers=Layers(tls=True, deflate=True))
        said = [runner.command(row, program, 7, 3) for program in row.programs[:3]]
        asked = "tls_v1=true tls_root_ca_file=prepared/ca.pem deflate=true deflate_level=6"
        options = [part for option in asked.split() for part in ("--producer-opt", option)]
        for command in said:
            self.assertIn(" ".join(options), " ".join(command))
            self.assertIn("--bodies prepared/bodies-200.txt", " ".join(command))
        self.assertEqual([command[-2:] == ["--producer-opt", "a=b"] for command in said], [True, False, False])

    def test_a_program_whose_layers_nsqd_does_not_see_is_no_contestant(self):
        def producer(agent, **layers):
            said = {"user_agent": agent, "tls": False, "snappy": False, "deflate": False}
            return {**said, "tls_version": "TLS1.3", "tls_cipher_suite": "Unknown 4865", **layers}

        row = replace(ROWS[0], layers=Layers(tls=True))
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

    def test_the_bodies_are_lines_of_their_size_and_the_same_every_time(self):
        lines = bodies(200)
        self.assertEqual({len(line) for line in lines}, {200})
        self.assertEqual(len(set(lines)), len(lines))
        self.assertEqual(lines, bodies(200))
        self.assertTrue(all(json.loads(line)["event"] for line in lines))

    def test_a_part_of_the_readme_is_replaced_and_the_rest_stays(self):
        page = "1\n<!-- begin a -->\n2\n<!-- end a -->\n3\n<!-- begin b -->\n4\n<!-- end b -->\n"
        self.assertEqual(replaced(page, "b", "5\n"), page.replace("4", "5"))
        for part in PARTS:
            self.assertIn("new", replaced(README.read_text(), part, "new\n"))


if __name__ == "__main__":
    unittest.main()
