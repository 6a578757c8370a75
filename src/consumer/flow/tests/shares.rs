//! Capacity for all connections.

use super::*;

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
