//! Which nsqds are members of a pool with discovery.

use actix::Addr;
use actix_nsq::{Delivery, PoolConfig, PoolConfigBuilder, ProducerPool};
use tokio::time::sleep;

use super::world::{World, nodes};
use crate::harness::{
    HOUR, Network, Peer, in_virtual_time, pool_members, publish, remove_member, s,
};

/// Starts a pool of what `lookupd:4161` names.
fn start_pool(
    world: &World,
    options: impl FnOnce(PoolConfigBuilder) -> PoolConfigBuilder,
) -> Addr<ProducerPool> {
    let config = PoolConfig::discover(["lookupd:4161"])
        .connection(world.connection())
        .heartbeat_interval(HOUR);
    ProducerPool::start(options(config).build().unwrap())
}

/// Accepts the next dial of this nsqd. Those of others are refused.
async fn connected(world: &mut World, address: &str) -> Peer {
    loop {
        let dial = world.dial().await;
        if dial.address == address {
            let mut peer = dial.accept();
            peer.greet().await;
            return peer;
        }
    }
}

/// pool contract: 9
#[test]
fn removed_member_that_loses_its_connection_is_not_added_again() {
    in_virtual_time(async |network: Network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let pool = start_pool(&world, |config| config);
        let mut nsqd = connected(&mut world, "nsqd:4150").await;
        let answer = publish(&pool, "1");
        nsqd.expect_pub("t", "1").await;
        let end = async {
            sleep(s(1)).await;
            drop(nsqd);
        };
        tokio::join!(remove_member(&pool, "nsqd:4150", s(5)), end);
        assert_eq!(answer.await.unwrap_err().delivery(), Delivery::MaybeWritten);
        world.expect_no_dial(s(300)).await;
        assert!(pool_members(&pool).await.is_empty());
    });
}
