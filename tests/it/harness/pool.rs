//! Pools whose members are `a:1`, `b:1`, `c:1`, and the connections of these.

use std::time::Duration;

use actix::Addr;
use actix_nsq::{
    PoolConfig, PoolConfigBuilder, ProducerPool, SubscribeEvents,
    pool::{GetMembers, GetStats, Member, PoolEvent, PoolStats, RemoveMember, Strategy},
    producer::DrainReport,
};

use super::{Network, Peer, Recorder};

const MEMBERS: [&str; 3] = ["a:1", "b:1", "c:1"];

/// All publishes go to the first member that is up.
pub(crate) fn primary(config: PoolConfigBuilder) -> PoolConfigBuilder {
    config.strategy(Strategy::Primary)
}

impl Network {
    /// Without automatic batching, so that each publish is one command.
    pub(crate) fn pool_config(&self, members: usize) -> PoolConfigBuilder {
        PoolConfig::builder(MEMBERS.into_iter().take(members))
            .connector(self.connector())
            .auto_batch(false)
    }

    pub(crate) fn start_pool_with(
        &self,
        members: usize,
        options: impl FnOnce(PoolConfigBuilder) -> PoolConfigBuilder,
    ) -> Addr<ProducerPool> {
        let config = options(self.pool_config(members)).build();
        ProducerPool::start(config.expect("a valid configuration"))
    }

    /// Starts a pool and accepts the connections of its members.
    pub(crate) async fn start_pool<const N: usize>(
        &mut self,
        options: impl FnOnce(PoolConfigBuilder) -> PoolConfigBuilder,
    ) -> (Addr<ProducerPool>, [Peer; N]) {
        let pool = self.start_pool_with(N, options);
        (pool, self.members_connected().await)
    }

    /// Accepts the next dials, one of each member, and returns the connections in the members'
    /// order.
    pub(crate) async fn members_connected<const N: usize>(&mut self) -> [Peer; N] {
        let mut dials = Vec::new();
        for _ in 0..N {
            dials.push(self.dial().await);
        }
        dials.sort_by(|one, other| one.address.cmp(&other.address));
        let mut peers = Vec::new();
        for dial in dials {
            let mut peer = dial.accept();
            peer.greet().await;
            peers.push(peer);
        }
        let peers = <[Peer; N]>::try_from(peers);
        peers.unwrap_or_else(|_| unreachable!("as many as dials"))
    }

    /// Accepts the next dial, which is that of this member.
    pub(crate) async fn member_connected(&mut self, address: &str) -> Peer {
        let dial = self.dial().await;
        assert_eq!(dial.address, address);
        let mut peer = dial.accept();
        peer.greet().await;
        peer
    }
}

/// Records the pool's events.
pub(crate) fn events_of(pool: &Addr<ProducerPool>) -> Recorder<PoolEvent> {
    let (recipient, recorder) = Recorder::start();
    pool.do_send(SubscribeEvents(recipient));
    recorder
}

pub(crate) async fn pool_stats(pool: &Addr<ProducerPool>) -> PoolStats {
    pool.send(GetStats).await.unwrap()
}

pub(crate) async fn pool_members(pool: &Addr<ProducerPool>) -> Vec<Member> {
    pool.send(GetMembers).await.unwrap()
}

pub(crate) async fn remove_member(
    pool: &Addr<ProducerPool>,
    address: &str,
    timeout: Duration,
) -> Option<DrainReport> {
    pool.send(RemoveMember::new(address, timeout))
        .await
        .unwrap()
}
