//! Capacity for all connections.

use super::*;

fn sum(rdys: &[u32]) -> u32 {
    rdys.iter().sum()
}

#[test]
fn single_connection_gets_one_rdy() {
    let mut bench = Bench::new(100, 1);
    assert_eq!(bench.plan(), [(0, 100)]);
    for _ in 0..100 {
        bench.received(0, 100);
        assert_eq!(bench.plan(), []);
        assert_eq!(bench.passes(ms(300)), []);
        bench.answered(0, 100);
        assert_eq!(bench.plan(), []);
        assert_eq!(bench.flow.due(), None);
    }
}

/// checklist: 53
#[test]
fn single_connection_gets_what_nsqd_accepts() {
    let mut bench = Bench::new(5000, 1);
    assert_eq!(bench.plan(), [(0, 2500)]);
    assert_eq!(bench.flow.due(), None);
}

/// fault: G4
#[test]
fn remainder_of_the_division_is_used() {
    let mut bench = Bench::new(9, 6);
    bench.plan();
    assert_eq!(sum(&bench.rdys()), 9);
}

#[test]
fn idle_consumer_writes_nothing_and_has_no_timer() {
    let mut bench = Bench::new(9, 6);
    bench.plan();
    bench.passes(ms(5_000));
    assert_eq!(bench.passes(ms(60_000)), []);
    assert_eq!(bench.flow.due(), None);
}

/// fault: G5
#[test]
fn saturated_connection_gets_what_others_do_not_need() {
    let mut bench = Bench::new(40, 4);
    bench.plan();
    assert_eq!(bench.rdys(), [10, 10, 10, 10]);
    bench.serve(&[0], ms(2_000), 1);
    assert_eq!(bench.rdys(), [37, 1, 1, 1]);
    assert_eq!(bench.most_in_flight, 37);
}

#[test]
fn saturated_connections_share_evenly() {
    let mut bench = Bench::new(42, 4);
    bench.plan();
    bench.serve(&[0], ms(2_000), 1);
    bench.serve(&[0, 2], ms(2_000), 1);
    let rdys = bench.rdys();
    assert_eq!(sum(&rdys), 42);
    assert!(rdys[0].abs_diff(rdys[2]) <= 3, "{rdys:?}");
    assert_eq!([rdys[1], rdys[3]], [1, 1]);
}

#[test]
fn new_connection_gets_its_share_as_answers_free_it() {
    let mut bench = Bench::new(100, 1);
    bench.plan();
    bench.received(0, 100);
    bench.plan();
    bench.open(1);
    assert_eq!(bench.plan(), [(0, 50)]);
    bench.passes(ms(200));
    assert_eq!(bench.rdys(), [50, 0], "the first one holds 100 messages");
    bench.answered(0, 30);
    bench.plan();
    bench.passes(ms(10));
    assert_eq!(bench.rdys(), [50, 30]);
    bench.fill(1);
    bench.answered(0, 20);
    bench.plan();
    bench.passes(ms(200));
    assert_eq!(bench.rdys(), [50, 50]);
}

/// fault: G2
#[test]
fn share_of_lost_connection_is_used_at_once() {
    let mut bench = Bench::new(200, 2);
    bench.plan();
    bench.serve(&[0, 1], ms(500), 1);
    assert_eq!(bench.rdys(), [100, 100]);
    bench.received(1, 10);
    bench.plan();
    bench.flow.close(key(1));
    bench.plan();
    assert_eq!(bench.rdys(), [190], "10 are in the hands of handlers");
    bench.answered(1, 10);
    bench.plan();
    bench.passes(ms(100));
    assert_eq!(bench.rdys(), [200]);
}

/// Three places are left over, and each saturated connection has them in turn.
/// fault: G4
#[test]
fn small_remainder_rotates_each_second() {
    let mut bench = Bench::new(9, 6);
    bench.plan();
    let mut served = [0; 6];
    for _ in 0..12 {
        let all = bench.serve(&[0, 1, 2, 3, 4, 5], ms(1_000), 10);
        for (sum, count) in served.iter_mut().zip(all) {
            *sum += count;
        }
        bench.passes(ms(20));
        assert_eq!(sum(&bench.rdys()), 9);
    }
    let (least, most) = (served.iter().min().unwrap(), served.iter().max().unwrap());
    assert!(most - least < most / 8, "{served:?}");
}

/// The memory of the rotation is a time: the RDYs of these plans are not written, since all
/// capacity is held of a lost connection.
#[test]
fn remainder_stays_while_its_rdy_cannot_be_written() {
    let mut bench = Bench::new(5, 1);
    bench.plan();
    bench.received(0, 5);
    bench.plan();
    bench.flow.close(key(0));
    for nsqd in 1..4 {
        bench.open(nsqd);
    }
    bench.plan();
    let remainder = |bench: &Bench| -> Vec<Option<Instant>> {
        let connections = bench.flow.connections.iter();
        connections.map(|it| it.remainder).collect()
    };
    let first = remainder(&bench);
    assert_eq!(first.iter().flatten().count(), 2);
    for _ in 0..5 {
        bench.passes(ms(50));
        bench.flow.set_max(5);
        bench.plan();
        assert_eq!(remainder(&bench), first);
    }
}

#[test]
fn lowered_max_lowers_every_rdy_at_once() {
    let mut bench = Bench::new(100, 4);
    bench.plan();
    bench.flow.set_max(10);
    bench.plan();
    assert!(sum(&bench.rdys()) <= 10);
    bench.passes(SETTLED + ms(100));
    assert_eq!(sum(&bench.rdys()), 10);
    bench.flow.set_max(0);
    bench.plan();
    assert_eq!(bench.rdys(), [0, 0, 0, 0]);
}

#[test]
fn pause_lowers_every_rdy_to_zero_until_resume() {
    let mut bench = Bench::new(8, 2);
    bench.plan();
    bench.flow.pause();
    assert_eq!(bench.plan(), [(0, 0), (1, 0)]);
    bench.passes(ms(10_000));
    assert_eq!(bench.flow.due(), None);
    bench.flow.resume();
    assert_eq!(bench.plan(), [(0, 4), (1, 4)]);
}

#[test]
fn connection_with_most_of_its_rdy_held_is_starved() {
    let mut bench = Bench::new(100, 1);
    assert!(!bench.flow.is_starved());
    bench.plan();
    bench.received(0, 84);
    assert!(!bench.flow.is_starved());
    bench.received(0, 1);
    assert!(bench.flow.is_starved());
}

#[test]
fn event_of_lost_connection_does_not_reach_its_successor() {
    let mut bench = Bench::new(10, 1);
    bench.plan();
    bench.received(0, 4);
    bench.plan();
    bench.flow.close(key(0));
    let successor = ConnectionKey { nsqd: 0, serial: 1 };
    bench.flow.open(successor, 2500, ROUND_TRIP, bench.now);
    assert_eq!(bench.plan(), [(0, 6)]);
    bench.answered(0, 3);
    bench.expired(0, 1);
    assert_eq!(bench.flow.connections[0].capacity.held(), 0);
    bench.plan();
    bench.passes(ms(200));
    assert_eq!(bench.flow.rdy(successor), 10);
}

#[test]
fn message_reported_after_the_close_counts_until_answered() {
    let mut bench = Bench::new(10, 2);
    bench.plan();
    bench.flow.close(key(1));
    bench.received(1, 3);
    bench.plan();
    assert_eq!(bench.rdys(), [7]);
    bench.answered(1, 3);
    bench.plan();
    bench.passes(ms(200));
    assert_eq!(bench.rdys(), [10]);
}
