//! The open connections of one port: how many there may be, and which of them have to go.
//!
//! Invariant: clients that hold connections open without calling keep nobody out: where there is no room, the connection that has been
//! without a call for longest makes it. Reading and writing are left to [`super::incoming`].
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// What holds for the connections of a port; `None` is without limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Most connections at one time.
    pub connections_max: usize,
    /// Most of one address; of IPv6, of one network of 64 bits.
    pub per_address_max: Option<usize>,
    /// Bytes that a client has to send before it counts as one.
    pub first_bytes: usize,
    /// Longest time for those.
    pub first_bytes_timeout: Duration,
    /// Longest time without a call.
    pub idle_max: Option<Duration>,
    /// Longest time that a part of an answer waits to be taken.
    pub stalled_max: Option<Duration>,
    /// Longest life.
    pub age_max: Option<Duration>,
}

/// Why a connection is closed from this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Closing {
    /// It did not say what it wants.
    #[error("silent")]
    Silent,
    /// It made room for another.
    #[error("evicted")]
    Evicted,
    /// It made no call.
    #[error("idle")]
    Idle,
    /// An answer was not taken.
    #[error("stalled")]
    Stalled,
    /// It has been open for as long as one may be, the grace included.
    #[error("old")]
    Old,
}

/// The open connections of one port.
#[derive(Debug)]
pub struct Connections {
    port: &'static str,
    rules: Rules,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: BTreeMap<u64, Weak<Presence>>,
    per_address: HashMap<IpAddr, usize>,
}

/// One open connection; it is counted for as long as this lives.
#[derive(Debug)]
pub struct Presence {
    connections: Arc<Connections>,
    number: u64,
    address: IpAddr,
    began_at: Instant,
    calls: Mutex<Calls>,
    has_spoken: AtomicBool,
    is_evicted: AtomicBool,
    waker: AtomicWaker,
}

#[derive(Debug)]
struct Calls {
    open: usize,
    quiet_since: Instant,
    next: u64,
    /// Calls of which a part of the answer waits to be taken, and since when.
    unread: foldhash::HashMap<u64, Instant>,
}

/// A call on a connection, until its answer is out.
#[derive(Debug)]
pub struct OpenCall {
    presence: Arc<Presence>,
    number: u64,
    is_unread: bool,
}

// === impl Closing ===

impl Closing {
    /// The label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Evicted => "evicted",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Old => "old",
        }
    }
}

// === impl Connections ===

impl Connections {
    /// None yet; `port` is for metrics.
    pub fn new(port: &'static str, rules: Rules) -> Arc<Self> {
        Arc::new(Self {
            port,
            rules,
            open: Mutex::default(),
        })
    }

    /// What holds for them.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes a connection in, for which another may have to go. `None` where all that could make room have calls under way.
    pub fn admit(self: &Arc<Self>, address: IpAddr, now: Instant) -> Option<Arc<Presence>> {
        let address = network(address);
        // Let go of after the lock: whoever lets go of a presence last takes it.
        let mut looked_at = Vec::new();
        let mut open = self.open();
        let of_address = open.per_address.get(&address).copied().unwrap_or(0);
        let is_crowded = self
            .rules
            .per_address_max
            .is_some_and(|max| of_address >= max);
        let is_full = open.all.len() >= self.rules.connections_max;
        if (is_crowded || is_full) && !open.evict(is_crowded.then_some(address), &mut looked_at) {
            drop(open);
            self.count("full");
            return None;
        }
        let number = open.next;
        open.next += 1;
        let presence = Arc::new(Presence {
            connections: self.clone(),
            number,
            address,
            began_at: now,
            calls: Mutex::new(Calls {
                open: 0,
                quiet_since: now,
                next: 0,
                unread: foldhash::HashMap::default(),
            }),
            has_spoken: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        open.all.insert(number, Arc::downgrade(&presence));
        *open.per_address.entry(address).or_insert(0) += 1;
        drop(open);
        metrics::gauge!("hermod_connections", "port" => self.port).increment(1.0);
        Some(presence)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.open().all.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Counts a connection that was closed from this side.
    pub fn count(&self, reason: &'static str) {
        metrics::counter!("hermod_connections_closed_total", "port" => self.port, "reason" => reason)
            .increment(1);
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for an address: of IPv6 its network, since one machine has as many addresses as it likes.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
    }
}

// === impl Open ===

impl Open {
    /// Tells the connection to go that has been without a call for longest, of one address or of all; answers whether there is one.
    fn evict(&mut self, address: Option<IpAddr>, looked_at: &mut Vec<Arc<Presence>>) -> bool {
        looked_at.extend(self.all.values().filter_map(Weak::upgrade));
        let quiet = looked_at.iter().filter_map(|presence| {
            let fits = address.is_none_or(|address| presence.address == address);
            let since = presence.quiet_since().filter(|_| fits)?;
            Some((since, presence))
        });
        let Some((_, longest)) = quiet.min_by_key(|(since, _)| *since) else {
            return false;
        };
        self.remove(longest.number, longest.address);
        longest.is_evicted.store(true, Ordering::Release);
        longest.waker.wake();
        true
    }

    fn remove(&mut self, number: u64, address: IpAddr) {
        if self.all.remove(&number).is_none() {
            return;
        }
        if let Some(count) = self.per_address.get_mut(&address) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.per_address.remove(&address);
            }
        }
    }
}

// === impl Presence ===

impl Presence {
    /// Which connections this is one of.
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// The client has said what it wants.
    pub fn spoke(&self) {
        self.has_spoken.store(true, Ordering::Relaxed);
    }

    /// Who is to be woken when the connection has to make room.
    pub fn wake_when_evicted(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Whether it has to make room.
    pub fn is_evicted(&self) -> bool {
        self.is_evicted.load(Ordering::Acquire)
    }

    /// Begins a call.
    pub fn begin(self: &Arc<Self>) -> OpenCall {
        let mut calls = self.calls();
        calls.open += 1;
        let number = calls.next;
        calls.next += 1;
        drop(calls);
        OpenCall {
            presence: self.clone(),
            number,
            is_unread: false,
        }
    }

    /// When to look again, or why the connection is to be closed now.
    ///
    /// # Errors
    /// The reason to close it.
    pub fn verdict(&self, now: Instant) -> Result<Instant, Closing> {
        let rules = &self.connections.rules;
        if self.is_evicted() {
            return Err(Closing::Evicted);
        }
        if !self.has_spoken.load(Ordering::Relaxed) {
            let due = self.began_at + rules.first_bytes_timeout;
            return due_at(due, now, Closing::Silent);
        }
        let calls = self.calls();
        let quiet_since = if calls.open == 0 {
            calls.quiet_since
        } else {
            now
        };
        let unread_since = calls.unread.values().min().copied().unwrap_or(now);
        drop(calls);
        let limits = [
            (rules.age_max, self.began_at, Closing::Old),
            (rules.stalled_max, unread_since, Closing::Stalled),
            (rules.idle_max, quiet_since, Closing::Idle),
        ];
        let mut next = now + LOOK_INTERVAL_MAX;
        for (limit, since, closing) in limits {
            if let Some(limit) = limit {
                next = next.min(due_at(since + limit, now, closing)?);
            }
        }
        Ok(next)
    }

    fn quiet_since(&self) -> Option<Instant> {
        let calls = self.calls();
        (calls.open == 0).then_some(calls.quiet_since)
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Longest time between two looks at a connection.
const LOOK_INTERVAL_MAX: Duration = Duration::from_secs(3_600);

fn due_at(due: Instant, now: Instant, closing: Closing) -> Result<Instant, Closing> {
    if due <= now { Err(closing) } else { Ok(due) }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.connections.open().remove(self.number, self.address);
        metrics::gauge!("hermod_connections", "port" => self.connections.port).decrement(1.0);
    }
}

// === impl OpenCall ===

impl OpenCall {
    /// A part of the answer waits to be taken.
    pub fn handed_over(&mut self, now: Instant) {
        self.is_unread = true;
        self.presence.calls().unread.insert(self.number, now);
    }

    /// It was taken: there is room for the next.
    pub fn taken(&mut self) {
        if self.is_unread {
            self.is_unread = false;
            self.presence.calls().unread.remove(&self.number);
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut calls = self.presence.calls();
        if self.is_unread {
            calls.unread.remove(&self.number);
        }
        calls.open = calls.open.saturating_sub(1);
        calls.quiet_since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rules() -> Rules {
        Rules {
            connections_max: 2,
            per_address_max: None,
            first_bytes: 24,
            first_bytes_timeout: 5 * SECOND,
            idle_max: Some(60 * SECOND),
            stalled_max: Some(30 * SECOND),
            age_max: Some(3_600 * SECOND),
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn the_connection_longest_without_a_call_makes_room_and_those_with_calls_stay() {
        let connections = Connections::new("grpc", rules());
        let now = Instant::now();
        let first = connections.admit(address(1), now).unwrap();
        let second = connections.admit(address(2), now + SECOND).unwrap();
        let call = first.begin();
        let third = connections.admit(address(3), now + 2 * SECOND).unwrap();
        assert!(!first.is_evicted() && second.is_evicted() && !third.is_evicted());
        assert_eq!(second.verdict(now), Err(Closing::Evicted));
        let other = third.begin();
        assert!(connections.admit(address(4), now).is_none());
        drop(call);
        assert!(connections.admit(address(4), now).is_some());
        assert!(first.is_evicted());
        drop((first, second, third, other));
        assert!(connections.is_empty());
        assert!(connections.open().per_address.is_empty());
    }

    #[test]
    fn an_address_makes_room_among_its_own_and_a_network_of_ipv6_is_one() {
        let rules = Rules {
            connections_max: 10,
            per_address_max: Some(1),
            ..rules()
        };
        let connections = Connections::new("grpc", rules);
        let now = Instant::now();
        let other = connections.admit(address(9), now).unwrap();
        let admit = |text: &str| {
            let address: IpAddr = text.parse().unwrap();
            connections.admit(address, now + SECOND).unwrap()
        };
        let first = admit("2001:db8::1");
        let second = admit("2001:db8::ffff");
        assert!(first.is_evicted() && !second.is_evicted() && !other.is_evicted());
        let elsewhere = admit("2001:db8:0:1::1");
        assert!(!second.is_evicted() && !elsewhere.is_evicted());
    }

    #[test]
    fn silence_idleness_stalling_and_age_each_end_a_connection_at_their_limit_and_not_before() {
        let connections = Connections::new("grpc", rules());
        let now = Instant::now();
        let presence = connections.admit(address(1), now).unwrap();
        assert_eq!(presence.verdict(now), Ok(now + 5 * SECOND));
        assert_eq!(presence.verdict(now + 5 * SECOND), Err(Closing::Silent));
        presence.spoke();
        assert_eq!(presence.verdict(now + 59 * SECOND), Ok(now + 60 * SECOND));
        assert_eq!(presence.verdict(now + 60 * SECOND), Err(Closing::Idle));
        let mut call = presence.begin();
        assert!(presence.verdict(now + 120 * SECOND).is_ok());
        call.handed_over(now + 120 * SECOND);
        assert_eq!(presence.verdict(now + 149 * SECOND), Ok(now + 150 * SECOND));
        assert_eq!(presence.verdict(now + 150 * SECOND), Err(Closing::Stalled));
        call.taken();
        assert!(presence.verdict(now + 150 * SECOND).is_ok());
        assert_eq!(presence.verdict(now + 3_600 * SECOND), Err(Closing::Old));
    }
}
