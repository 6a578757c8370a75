//! Resolves host names on threads of its own, so that a resolver that hangs delays neither the end
//! of the program nor anything else that uses tokio's blocking threads.

use std::{
    collections::{HashMap, VecDeque},
    fmt, io,
    net::{SocketAddr, ToSocketAddrs},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

/// Maximum number of threads, and so of look-ups at the same time. A thread exists only while a
/// name is looked up.
const MAX_THREADS: usize = 64;

/// Number of queued look-ups from which those that no attempt waits for any more are removed.
const MIN_PURGE: usize = 64;

type LookUpFn = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// Looks host names up, each at most once at a time: all that ask for a name share the look-up.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Inner>);

struct Inner {
    look_up: Box<LookUpFn>,
    max_threads: usize,
    state: Mutex<State>,
}

struct State {
    /// The look-ups that run or wait for a thread.
    by_host: HashMap<Arc<str>, Arc<LookUp>>,
    /// Those that wait for a thread, in order.
    queued: VecDeque<Arc<LookUp>>,
    /// Length of `queued` at which it is purged.
    purge_at: usize,
    threads: usize,
}

struct LookUp {
    host: Arc<str>,
    stage: watch::Sender<Stage>,
}

/// The addresses of a host, with port 0.
type Resolved = Result<Arc<[SocketAddr]>, Arc<io::Error>>;

#[derive(Clone)]
enum Stage {
    Queued,
    Running,
    Done(Resolved),
}

/// Why a name was not resolved.
#[derive(Debug)]
pub(super) enum ResolveError {
    /// The look-up failed.
    Failed(Arc<io::Error>),
    /// The look-up was not finished at the deadline.
    NoAnswer,
    /// Look-ups of other names occupied every thread until the deadline.
    NoThread,
}

impl Resolver {
    /// Returns the resolver of the process, which uses that of the operating system.
    pub(super) fn system() -> Self {
        static SYSTEM: LazyLock<Resolver> = LazyLock::new(|| {
            let look_up = |host: &str| Ok((host, 0).to_socket_addrs()?.collect());
            Resolver::new(look_up, MAX_THREADS)
        });
        SYSTEM.clone()
    }

    pub(super) fn new(
        look_up: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
        max_threads: usize,
    ) -> Self {
        Self(Arc::new(Inner {
            look_up: Box::new(look_up),
            max_threads,
            state: Mutex::new(State {
                by_host: HashMap::new(),
                queued: VecDeque::new(),
                purge_at: MIN_PURGE,
                threads: 0,
            }),
        }))
    }

    /// Returns the addresses of a host, with port 0.
    ///
    /// Cancel safe: the look-up goes on, and an attempt that follows joins it.
    pub(super) async fn resolve(
        &self,
        host: &str,
        deadline: Instant,
    ) -> Result<Arc<[SocketAddr]>, ResolveError> {
        let mut stage = self.join(host);
        let done = stage.wait_for(|stage| matches!(stage, Stage::Done(_)));
        let _ = timeout_at(deadline, done).await;
        let last = stage.borrow().clone();
        match last {
            Stage::Done(Ok(addresses)) => Ok(addresses),
            Stage::Done(Err(error)) => Err(ResolveError::Failed(error)),
            Stage::Running => Err(ResolveError::NoAnswer),
            Stage::Queued => Err(ResolveError::NoThread),
        }
    }

    /// Joins the look-up of a host, or starts one.
    fn join(&self, host: &str) -> watch::Receiver<Stage> {
        // Case does not matter in host names.
        let host: Arc<str> = host.to_ascii_lowercase().into();
        let mut state = self.0.state();
        if let Some(look_up) = state.by_host.get(&host) {
            return look_up.stage.subscribe();
        }
        let look_up = Arc::new(LookUp {
            host: Arc::clone(&host),
            stage: watch::Sender::new(Stage::Queued),
        });
        let stage = look_up.stage.subscribe();
        state.by_host.insert(host, Arc::clone(&look_up));
        if state.threads == self.0.max_threads {
            state.enqueue(look_up);
        } else if let Err(error) = self.start_thread(Arc::clone(&look_up)) {
            if state.threads > 0 {
                state.enqueue(look_up);
            } else {
                state.finish(&look_up, Err(error.into()));
            }
        } else {
            state.threads += 1;
        }
        stage
    }

    /// Starts a thread that is never joined: the end of the program does not wait for it.
    fn start_thread(&self, first: Arc<LookUp>) -> io::Result<()> {
        let inner = Arc::clone(&self.0);
        let thread = thread::Builder::new().name("nsq-resolver".into());
        thread.spawn(move || inner.run(first)).map(drop)
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The body of a thread: looks names up until none is queued.
    fn run(&self, first: Arc<LookUp>) {
        let mut next = Some(first);
        while let Some(look_up) = next {
            look_up.stage.send_replace(Stage::Running);
            let resolved = (self.look_up)(&look_up.host);
            let resolved = resolved.map(Arc::from).map_err(Arc::new);
            let mut state = self.state();
            state.finish(&look_up, resolved);
            next = state.dequeue();
            if next.is_none() {
                state.threads -= 1;
            }
        }
    }
}

impl State {
    fn enqueue(&mut self, look_up: Arc<LookUp>) {
        self.queued.push_back(look_up);
        if self.queued.len() >= self.purge_at {
            let by_host = &mut self.by_host;
            self.queued.retain(|look_up| {
                let is_needed = look_up.is_needed();
                if !is_needed {
                    by_host.remove(&look_up.host);
                }
                is_needed
            });
            self.purge_at = MIN_PURGE.max(2 * self.queued.len());
        }
    }

    fn dequeue(&mut self) -> Option<Arc<LookUp>> {
        loop {
            let look_up = self.queued.pop_front()?;
            if look_up.is_needed() {
                return Some(look_up);
            }
            self.by_host.remove(&look_up.host);
        }
    }

    fn finish(&mut self, look_up: &LookUp, resolved: Resolved) {
        self.by_host.remove(&look_up.host);
        look_up.stage.send_replace(Stage::Done(resolved));
    }
}

impl LookUp {
    /// Whether an attempt to connect waits for the result.
    fn is_needed(&self) -> bool {
        self.stage.receiver_count() > 0
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use futures::future::join_all;

    use super::*;

    /// A resolver of at most two threads whose look-ups wait for the test.
    struct Held {
        resolver: Resolver,
        calls: Arc<AtomicUsize>,
        /// Ends one look-up per message.
        release: mpsc::Sender<()>,
    }

    fn held() -> Held {
        let calls = Arc::new(AtomicUsize::new(0));
        let (release, released) = mpsc::channel();
        let (counter, released) = (Arc::clone(&calls), Mutex::new(released));
        let look_up = move |host: &str| {
            counter.fetch_add(1, Ordering::SeqCst);
            // Fails at the end of the test.
            let _ = released.lock().unwrap().recv();
            match host {
                "invalid" => Err(io::ErrorKind::NotFound.into()),
                _ => Ok(vec![([10, 0, 0, 1], 0).into()]),
            }
        };
        Held {
            resolver: Resolver::new(look_up, 2),
            calls,
            release,
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    /// checklist: 20
    #[tokio::test]
    async fn look_up_of_a_name_is_shared_by_all_attempts() {
        let held = held();
        // An attempt that gives up does not start a second look-up.
        let first = held.resolver.resolve("nsqd", soon()).await;
        assert!(matches!(first, Err(ResolveError::NoAnswer)), "{first:?}");
        let names = ["nsqd", "NSQD"].repeat(50);
        let attempts = names
            .iter()
            .map(|name| held.resolver.resolve(name, later()));
        let release = async { held.release.send(()).unwrap() };
        let (resolved, ()) = tokio::join!(join_all(attempts), release);
        for addresses in resolved {
            assert_eq!(*addresses.unwrap(), [([10, 0, 0, 1], 0).into()]);
        }
        assert_eq!(held.calls.load(Ordering::SeqCst), 1);
        // A finished look-up is not used again.
        held.release.send(()).unwrap();
        let failed = held.resolver.resolve("invalid", later()).await;
        assert!(matches!(failed, Err(ResolveError::Failed(_))), "{failed:?}");
    }

    /// fault: P2
    #[tokio::test]
    async fn look_up_without_a_free_thread_waits_until_its_deadline() {
        let held = held();
        let hosts: Vec<_> = (0..300).map(|host| format!("nsqd-{host}")).collect();
        let attempts = hosts.iter().map(|host| held.resolver.resolve(host, soon()));
        let (mut hang, mut waited) = (0, 0);
        for resolved in join_all(attempts).await {
            match resolved.unwrap_err() {
                ResolveError::NoAnswer => hang += 1,
                ResolveError::NoThread => waited += 1,
                ResolveError::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!((hang, waited), (2, 298));
        assert_eq!(held.calls.load(Ordering::SeqCst), 2);
        // A free thread skips the look-ups that no attempt waits for.
        let last = held.resolver.resolve("last", later());
        let release = async {
            for _ in 0..3 {
                held.release.send(()).unwrap();
            }
        };
        let (resolved, ()) = tokio::join!(last, release);
        resolved.unwrap();
        assert_eq!(held.calls.load(Ordering::SeqCst), 3);
        let state = held.resolver.0.state();
        assert!(state.queued.is_empty());
        assert!(state.by_host.len() <= 1, "only a look-up that still ends");
    }

    /// fault: P2
    #[tokio::test]
    async fn abandoned_look_ups_do_not_pile_up_in_the_queue() {
        let held = held();
        for host in 0..1_000 {
            drop(held.resolver.join(&format!("nsqd-{host}")));
        }
        let queued = held.resolver.0.state().queued.len();
        assert!(queued <= MIN_PURGE, "{queued} queued");
    }
}
