//! The grammar of fault lists.

use std::time::Duration;

use crate::support::chaos::{End, Faults, Way};

fn read(list: &str) -> Faults {
    list.parse()
        .unwrap_or_else(|error| panic!("{list}: {error}"))
}

#[test]
fn each_fault_has_a_name_and_is_written_as_it_is_read() {
    let list = "latency=20ms, jitter=5ms, bandwidth=100kB/s, slice=1..7, stall=5000, cut=1234, \
                corrupt=77, end=rst, cut-every=5s, times=3, refuse";
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
    for (faults, name) in [
        (Faults::default(), "none"),
        (Faults::black_hole(), "black-hole"),
    ] {
        assert_eq!(read(name), faults);
        assert_eq!(faults.to_string(), name);
    }
    assert_eq!(read(""), Faults::default());
}

#[test]
fn fault_may_concern_one_direction_and_the_last_value_counts() {
    let faults = read("cut=9,cut-up=1,latency-down=1s,slice=4");
    assert_eq!((faults.up.cut, faults.down.cut), (Some(1), Some(9)));
    let text = "latency-down=1s,slice=4..4,cut-up=1,cut-down=9";
    assert_eq!(faults.to_string(), text);
}

#[test]
fn invalid_fault_is_named_with_the_valid_ones() {
    for (list, fault, valid) in [
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
        let error = list.parse::<Faults>().expect_err(list);
        assert!(error.starts_with(fault) && error.contains(valid), "{error}");
    }
}
