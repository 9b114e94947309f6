//! One clock that a test advances.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use crate::clock::{Clock, Tick, Wall};

/// Both clocks of an [`Auth`](crate::Auth) or a verifier under a test's control.
///
/// ```
/// use std::time::Duration;
/// use midil_auth::testing::TestClock;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let clock = TestClock::virtual_time();
/// let before = clock.now();
/// clock.advance(Duration::from_secs(3600)).await;
/// assert!(clock.now() >= before + Duration::from_secs(3600));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TestClock(Arc<State>);

#[derive(Debug)]
struct State {
    /// Where tokio's clock stood; `None` for a clock that stands still by itself.
    origin: Option<Instant>,
    /// Nanoseconds added to the monotonic clock.
    tick: AtomicU64,
    /// Nanoseconds added to the wall clock on top of that.
    wall: AtomicI64,
}

const FIRST_TICK: u64 = Tick::ORIGIN.as_nanos();

/// Where the wall clock of a test starts: 2030-01-01T00:00:00Z.
const START: u64 = 1_893_456_000;

impl TestClock {
    /// Follows tokio's clock; for tests with `start_paused = true`. Timers and both clocks move
    /// together.
    #[must_use]
    pub fn virtual_time() -> Self {
        Self::new(Some(Instant::now()), START)
    }

    /// Stands still at a Unix time until it is advanced; for tests without timers.
    #[must_use]
    pub fn fixed(unix_seconds: u64) -> Self {
        Self::new(None, unix_seconds)
    }

    fn new(origin: Option<Instant>, unix_seconds: u64) -> Self {
        let wall = i64::try_from(unix_seconds.saturating_mul(1_000_000_000)).unwrap_or(i64::MAX);
        let wall = wall.saturating_sub(FIRST_TICK.cast_signed());
        Self(Arc::new(State {
            origin,
            tick: AtomicU64::new(FIRST_TICK),
            wall: AtomicI64::new(wall),
        }))
    }

    /// For [`AuthBuilder::clock`](crate::AuthBuilder::clock) and
    /// [`VerifierBuilder::fixed_with_clock`](crate::jwt::VerifierBuilder::fixed_with_clock).
    #[must_use]
    pub fn clock(&self) -> Clock {
        Clock::test(self.clone())
    }

    /// Moves both clocks, and tokio's if this one follows it.
    pub async fn advance(&self, by: Duration) {
        if self.0.origin.is_some() {
            tokio::time::advance(by).await;
        } else {
            self.suspend(by);
        }
    }

    /// Moves both clocks but no timer, as a machine that slept does.
    pub fn suspend(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.tick.fetch_add(nanos, Ordering::SeqCst);
    }

    /// Steps the wall clock alone, forwards or backwards, by seconds.
    pub fn step_wall(&self, seconds: i64) {
        self.0
            .wall
            .fetch_add(seconds.saturating_mul(1_000_000_000), Ordering::SeqCst);
    }

    /// Moves the wall clock alone by microseconds: many small moves are a slew, as NTP does it.
    pub fn slew_wall(&self, micros: i64) {
        self.0
            .wall
            .fetch_add(micros.saturating_mul(1_000), Ordering::SeqCst);
    }

    /// The time on the wall clock.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.wall().to_system()
    }

    fn elapsed(&self) -> u64 {
        let flowed = self
            .0
            .origin
            .map(|origin| origin.elapsed())
            .unwrap_or_default();
        let flowed = u64::try_from(flowed.as_nanos()).unwrap_or(u64::MAX);
        self.0.tick.load(Ordering::SeqCst).saturating_add(flowed)
    }

    pub(crate) fn tick(&self) -> Tick {
        Tick::from_nanos(self.elapsed())
    }

    pub(crate) fn wall(&self) -> Wall {
        let shift = self.0.wall.load(Ordering::SeqCst);
        Wall::from_nanos(self.elapsed().saturating_add_signed(shift))
    }
}
