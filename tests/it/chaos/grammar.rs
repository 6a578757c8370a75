//! How faults are written: what is written is read again as the same, and who errs is told where.

use std::time::Duration;

use proptest::{option, prelude::*};

use crate::support::chaos::{End, Faults, Way};

fn read(list: &str) -> Faults {
    list.parse().unwrap_or_else(|why| panic!("{list}: {why}"))
}

#[test]
fn each_fault_has_its_word() {
    let list = "latency=20ms, jitter=5ms, bandwidth=100kB/s, slice=1..7, stall=5000, cut=1234, corrupt=77, \
                end=rst, cut-every=5s, times=3, refuse";
    let way = Way {
        latency: Duration::from_millis(20),
        jitter: Duration::from_millis(5),
        bandwidth: Some(100_000),
        slice: Some((1, 7)),
        stall: Some(5000),
        cut: Some(1234),
        corrupt: Some(77),
    };
    let all = Faults {
        up: way,
        down: way,
        end: End::Rst,
        cut_every: Some(Duration::from_secs(5)),
        times: Some(3),
        refuse: true,
    };
    assert_eq!(read(list), all);
    assert_eq!(all.to_string(), list.replace(", ", ","));
    assert_eq!(read("none"), Faults::default());
    assert_eq!(read(""), Faults::default());
    assert_eq!(Faults::default().to_string(), "none");
    assert_eq!(read("black-hole"), Faults::black_hole());
    assert_eq!(Faults::black_hole().to_string(), "black-hole");
}

#[test]
fn a_fault_may_concern_one_way_and_the_last_word_counts() {
    let faults = read("cut=9,cut-up=1,latency-down=1s,slice=4");
    assert_eq!((faults.up.cut, faults.down.cut), (Some(1), Some(9)));
    assert_eq!(faults.down.latency, Duration::from_secs(1));
    assert!(faults.up.latency.is_zero());
    assert_eq!(faults.up.slice, Some((4, 4)));
    assert_eq!(
        faults.to_string(),
        "latency-down=1s,slice=4..4,cut-up=1,cut-down=9"
    );
}

#[test]
fn who_errs_is_told_where_and_what_there_is() {
    for (list, word, why) in [
        ("latency=1s,lag=2s", "lag=2s", "none of: latency, jitter"),
        ("latency=20", "latency=20", "no duration such as 20ms"),
        ("cut=-1", "cut=-1", "a number"),
        ("cut-sideways=1", "cut-sideways=1", "none of"),
        ("slice=7..1", "slice=7..1", "1..7"),
        ("slice=0", "slice=0", "at least 1"),
        ("bandwidth=0B/s", "bandwidth=0B/s", "more than 0"),
        ("bandwidth=5", "bandwidth=5", "B/s, kB/s or MB/s"),
        ("end=abrupt", "end=abrupt", "fin or rst"),
        ("refuse=yes", "refuse=yes", "no value"),
        ("end-up=fin", "end-up=fin", "none of"),
    ] {
        let said = list.parse::<Faults>().expect_err(list);
        assert!(said.starts_with(word) && said.contains(why), "{said}");
    }
}

fn ways() -> impl Strategy<Value = Way> {
    let time = || prop_oneof![Just(0), 0..10_000_000_u64].prop_map(Duration::from_micros);
    let bandwidth = option::of((1..3_000_u64, 0..3_u32));
    let slice = option::of((1..100_usize, 0..100_usize));
    let mark = || option::of(0..100_u64);
    (time(), time(), bandwidth, slice, mark(), mark(), mark()).prop_map(
        |(latency, jitter, bandwidth, slice, stall, cut, corrupt)| Way {
            latency,
            jitter,
            bandwidth: bandwidth.map(|(number, unit)| number * 1_000_u64.pow(unit)),
            slice: slice.map(|(least, more)| (least, least + more)),
            stall,
            cut,
            corrupt,
        },
    )
}

fn all_faults() -> impl Strategy<Value = Faults> {
    let end = prop_oneof![Just(End::Fin), Just(End::Rst)];
    let ways = prop_oneof![ways().prop_map(|way| (way, way)), (ways(), ways())];
    let every = option::of((0..1_000_000_u64).prop_map(Duration::from_millis));
    (ways, end, every, option::of(0..9_u64), any::<bool>()).prop_map(
        |((up, down), end, cut_every, times, refuse)| Faults {
            up,
            down,
            end,
            cut_every,
            times,
            refuse,
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again_as_the_same(faults in all_faults()) {
        let list = faults.to_string();
        prop_assert_eq!(read(&list), faults, "{}", list);
    }
}
