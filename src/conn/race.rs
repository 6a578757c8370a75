//! Connects to one of several addresses: the first that accepts.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, timeout_at};

/// Longest time between the starts of two attempts, as RFC 8305 recommends.
const MAX_STAGGER: Duration = Duration::from_millis(250);

/// Maximum number of addresses that an error names. More are counted.
const MAX_NAMED: usize = 32;

/// Dials the addresses until one accepts. All attempts go on until then; afterwards the others are
/// dropped.
///
/// Each attempt starts some time after the one before, or at once if one fails. The last starts
/// before half of the time has passed, so that it has the other half.
pub(super) async fn first_to_connect<T, F>(
    addresses: &[SocketAddr],
    deadline: Instant,
    dial: impl Fn(SocketAddr) -> F,
) -> Result<T, AllFailed>
where
    F: Future<Output = io::Result<T>>,
{
    let attempts = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let time = deadline.saturating_duration_since(Instant::now());
    let stagger = MAX_STAGGER.min(time / attempts / 2);
    let mut addresses = addresses.iter().copied();
    let mut running = FuturesUnordered::new();
    let mut failed = AllFailed::default();
    loop {
        let mut until = deadline;
        if let Some(address) = addresses.next() {
            let attempt = dial(address);
            running.push(async move { (address, attempt.await) });
            failed.unanswered.push(address.ip());
            if addresses.len() > 0 {
                until = deadline.min(Instant::now() + stagger);
            }
        } else if running.is_empty() {
            return Err(failed);
        }
        match timeout_at(until, running.next()).await {
            Ok(Some((_, Ok(stream)))) => return Ok(stream),
            Ok(Some((address, Err(error)))) => failed.add(address.ip(), error),
            Ok(None) => {}
            Err(_) if until == deadline => return Err(failed),
            Err(_) => {}
        }
    }
}

/// How the attempts failed.
#[derive(Debug, Default)]
pub(super) struct AllFailed {
    errors: Vec<(IpAddr, io::Error)>,
    /// The addresses that had not answered at the deadline.
    unanswered: Vec<IpAddr>,
}

impl AllFailed {
    fn add(&mut self, address: IpAddr, error: io::Error) {
        if let Some(at) = self.unanswered.iter().position(|it| *it == address) {
            self.unanswered.remove(at);
        }
        self.errors.push((address, error));
    }

    /// Returns the error of the only address, or one that names all; `None` if the only address has
    /// not answered.
    pub(super) fn into_error(mut self) -> Option<io::Error> {
        match (self.errors.len(), self.unanswered.len()) {
            (0, 1) => None,
            (1, 0) => self.errors.pop().map(|(_, error)| error),
            _ => Some(io::Error::new(self.kind(), self.to_string())),
        }
    }

    /// The kind that all errors have in common.
    fn kind(&self) -> io::ErrorKind {
        let timed_out = self.unanswered.iter().map(|_| io::ErrorKind::TimedOut);
        let errors = self.errors.iter().map(|(_, error)| error.kind());
        let mut kinds = errors.chain(timed_out);
        let first = kinds.next().unwrap_or(io::ErrorKind::Other);
        if kinds.all(|kind| kind == first) {
            first
        } else {
            io::ErrorKind::Other
        }
    }
}

/// Names the number of addresses, and those that failed in the same way together.
impl fmt::Display for AllFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried = self.errors.len() + self.unanswered.len();
        write!(f, "none of {tried} addresses accepted")?;
        let mut by_text = BTreeMap::<_, Vec<_>>::new();
        for (address, error) in &self.errors {
            by_text.entry(error.to_string()).or_default().push(address);
        }
        let no_answer = ("no answer".to_owned(), self.unanswered.iter().collect());
        let groups = by_text.into_iter().chain([no_answer]);
        let mut left = MAX_NAMED;
        for (text, addresses) in groups.filter(|(_, addresses)| !addresses.is_empty()) {
            write!(f, "; {text}: ")?;
            let named = addresses.len().min(left);
            left -= named;
            let mut list = String::new();
            for address in addresses.iter().take(named) {
                let separator = if list.is_empty() { "" } else { ", " };
                write!(list, "{separator}{address}")?;
            }
            match (named, addresses.len() - named) {
                (_, 0) => write!(f, "{list}")?,
                (0, more) => write!(f, "{more}")?,
                (_, more) => write!(f, "{list} and {more} more")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{cell::RefCell, rc::Rc};

    use tokio::time::sleep;

    use super::*;

    const ROUND_TRIP: Duration = Duration::from_millis(300);

    fn addresses(count: u8) -> Vec<SocketAddr> {
        (0..count)
            .map(|last| SocketAddr::from(([10, 0, 0, last], 4150)))
            .collect()
    }

    fn after(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    fn refused() -> io::Error {
        io::ErrorKind::ConnectionRefused.into()
    }

    /// The times of the attempts since the start, and the result of the race.
    async fn starts(
        count: u8,
        milliseconds: u64,
        failure: Option<Duration>,
    ) -> (Vec<u128>, AllFailed) {
        let starts = Rc::new(RefCell::new(Vec::new()));
        let began = Instant::now();
        let addresses = addresses(count);
        let raced = first_to_connect(&addresses, after(milliseconds), |_| {
            starts.borrow_mut().push(began.elapsed().as_millis());
            async move {
                sleep(failure.unwrap_or(Duration::MAX)).await;
                Err::<(), _>(refused())
            }
        });
        let failed = raced.await.unwrap_err();
        assert!(began.elapsed() <= Duration::from_millis(milliseconds + 1));
        (starts.take(), failed)
    }

    /// fault: P3
    #[tokio::test(start_paused = true)]
    async fn any_of_32_addresses_connects_at_300_ms_round_trip() {
        let addresses = addresses(32);
        for healthy in 0..32 {
            for refuses in [false, true] {
                let raced = first_to_connect(&addresses, after(1_000), async |address| {
                    sleep(ROUND_TRIP).await;
                    match address.ip() {
                        ip if ip == IpAddr::from([10, 0, 0, healthy]) => Ok(address),
                        _ if refuses => Err(refused()),
                        _ => std::future::pending().await,
                    }
                });
                let connected = raced.await.map(|address| address.ip());
                assert_eq!(connected.unwrap(), IpAddr::from([10, 0, 0, healthy]));
            }
        }
    }

    /// fault: P3
    #[tokio::test(start_paused = true)]
    async fn attempts_start_staggered_or_at_once_after_a_failure() {
        let (silent, _) = starts(5, 1_000, None).await;
        assert_eq!(silent, [0, 100, 200, 300, 400]);
        let (silent, _) = starts(3, 60_000, None).await;
        assert_eq!(silent, [0, 250, 500]);
        let (refused, _) = starts(3, 60_000, Some(Duration::from_millis(1))).await;
        assert_eq!(refused, [0, 1, 2]);
    }

    /// fault: P3
    #[tokio::test(start_paused = true)]
    async fn all_attempts_but_the_first_to_connect_are_dropped() {
        let open = Rc::new(());
        let addresses = addresses(8);
        let raced = first_to_connect(&addresses, after(1_000), |_| {
            let stream = Rc::clone(&open);
            async move {
                // All connect at the same moment.
                tokio::time::sleep_until(after(0) + ROUND_TRIP).await;
                Ok(stream)
            }
        });
        let connected = raced.await.unwrap();
        assert_eq!(Rc::strong_count(&open), 2);
        drop(connected);
    }

    #[tokio::test(start_paused = true)]
    async fn error_counts_the_addresses_and_names_each_failure() {
        let (_, failed) = starts(2, 1_000, Some(ROUND_TRIP)).await;
        let error = failed.into_error().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        let text = "none of 2 addresses accepted; connection refused: 10.0.0.0, 10.0.0.1";
        assert_eq!(error.to_string(), text);

        let (_, mut failed) = starts(200, 1_000, None).await;
        failed.add([10, 0, 0, 199].into(), refused());
        let error = failed.into_error().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::Other);
        let text = error.to_string();
        let start = "none of 200 addresses accepted; connection refused: 10.0.0.199; no answer: ";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with(", 10.0.0.30 and 168 more"), "{text}");

        // The error of a single address is not changed.
        let (_, one) = starts(1, 1_000, Some(ROUND_TRIP)).await;
        assert_eq!(one.into_error().unwrap().to_string(), "connection refused");
        assert!(starts(1, 1_000, None).await.1.into_error().is_none());
    }
}
