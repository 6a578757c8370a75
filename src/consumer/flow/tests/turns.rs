//! Fewer places than connections.

use super::*;

/// fault: C7, G6
#[test]
fn single_place_serves_all_full_connections_evenly() {
    let mut bench = Bench::new(1, 5);
    bench.plan();
    let served = bench.serve(&[0, 1, 2, 3, 4], ms(60_000), 1);
    let mean = served.iter().sum::<u32>() / 5;
    for count in &served[..5] {
        assert!(count.abs_diff(mean) <= mean / 10, "{served:?}");
    }
    assert_eq!(bench.most_in_flight, 1);
}

#[test]
fn single_place_alternates_between_busy_and_idle() {
    let mut bench = Bench::new(1, 5);
    bench.plan();
    let served = bench.serve(&[2], ms(10_000), 1);
    assert!(served[2] > 6_000, "a busy turn is longer: {served:?}");
    // A message of an idle one waits for at most one busy turn per idle connection.
    for nsqd in [0, 1, 3, 4] {
        let wait = bench.wait_for(nsqd, &[2], ms(10_000));
        assert!(wait <= ms(4 * 650), "{wait:?}");
    }
}

/// fault: C7
#[test]
fn spare_places_go_to_saturated_connection() {
    let mut bench = Bench::new(8, 10);
    bench.plan();
    bench.serve(&[3], ms(3_000), 1);
    let rdy = bench.flow.rdy(key(3));
    assert!(
        rdy >= 4,
        "two places are for the idle ones, and two may not be settled: {rdy}"
    );
    assert!(bench.rdys().iter().sum::<u32>() >= 6);
}

/// Of the connections 0 to 3, one is lost and opened again every 25 ms.
/// fault: C7
#[test]
fn flapping_connections_are_not_always_first_in_line() {
    let mut bench = Bench::new(1, 5);
    bench.plan();
    let mut turns = 0;
    let mut keys = [0, 1, 2, 3].map(key);
    for round in 0..400 {
        let flapping = &mut keys[round % 4];
        bench.flow.close(*flapping);
        flapping.serial += 1;
        bench.flow.open(*flapping, 2500, ROUND_TRIP, bench.now);
        let mut written = bench.plan();
        written.extend(bench.passes(ms(25)));
        turns += written.iter().filter(|it| **it == (4, 1)).count();
    }
    assert!(
        turns >= 20,
        "{turns} turns of the stable connection in 10 s"
    );
}

/// Nothing is written while all capacity is held of a lost connection. However often a plan is
/// made meanwhile, the same connection is next.
#[test]
fn selection_that_is_not_written_does_not_change_the_turn() {
    let next = |plans: usize| {
        let mut bench = Bench::new(1, 3);
        // Connection 0 is idle and 1 is busy; 2 will be lost.
        bench.plan();
        bench.wait_for(1, &[], ms(1_000));
        bench.wait_for(2, &[], ms(1_000));
        bench.received(2, 1);
        bench.flow.close(key(2));
        for _ in 0..plans {
            bench.flow.set_max(1);
            assert_eq!(bench.plan(), []);
        }
        bench.answered(2, 1);
        bench.plan()
    };
    let first = next(1);
    assert_eq!(first.len(), 1);
    for plans in 2..6 {
        assert_eq!(next(plans), first);
    }
}

/// A place that is not settled could return to its last owner at no cost.
#[test]
fn unsettled_place_goes_to_the_next_connection() {
    let mut bench = Bench::new(1, 3);
    let mut written = bench.plan();
    written.extend(bench.passes(ms(600)));
    let turns: Vec<u32> = written
        .into_iter()
        .filter(|(_, rdy)| *rdy == 1)
        .map(|(nsqd, _)| nsqd)
        .collect();
    assert!(turns.len() >= 6, "{turns:?}");
    for (index, nsqd) in turns.into_iter().enumerate() {
        assert_eq!(nsqd as usize, index % 3);
    }
}

/// The place is free behind the last answer of the burst, and no event may follow it.
#[test]
fn place_freed_by_the_last_answer_is_given_in_the_same_plan() {
    let mut bench = Bench::new(1, 2);
    assert_eq!(bench.plan(), [(0, 1)]);
    bench.received(0, 1);
    assert_eq!(bench.plan(), []);
    assert_eq!(bench.passes(ms(2_000)), [(0, 0)], "its turn is over");
    bench.answered(0, 1);
    assert_eq!(bench.plan(), [(1, 1)]);
}

#[test]
fn idle_turns_become_longer_while_all_are_idle() {
    let mut bench = Bench::new(1, 3);
    let first = bench.plan().len() + bench.passes(3 * (ms(50) + SETTLED) - ms(1)).len();
    assert_eq!(first, 6, "a turn for each");
    bench.passes(ms(10_000));
    let later = bench.passes(3 * (ms(200) + SETTLED)).len();
    assert_eq!(later, 6);
}

#[test]
fn timeouts_of_zero_do_not_cause_a_busy_loop() {
    let mut options = options(1);
    options.low_rdy_idle_timeout = Duration::ZERO;
    options.low_rdy_timeout = Duration::ZERO;
    let mut bench = Bench::new(1, 0);
    bench.flow = Flow::new(options);
    bench.flow.open(key(0), 2500, Duration::ZERO, bench.now);
    bench.flow.open(key(1), 2500, Duration::ZERO, bench.now);
    bench.plan();
    assert!(bench.passes(ms(1_000)).len() <= 2_000);
    bench.serve(&[0, 1], ms(1_000), 1);
}
