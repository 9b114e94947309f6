//! Wall and monotonic time behind one seam; the only file that reads a clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A point on a monotonic clock, in nanoseconds since an arbitrary origin.
///
/// On Linux it is `CLOCK_BOOTTIME`, which goes on while the machine is suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tick(u64);

impl Tick {
    /// The least tick: before every event.
    pub(crate) const ZERO: Self = Self(0);

    /// Where every clock begins, 146 years on, so that a value can be older than the machine.
    pub(crate) const ORIGIN: Self = Self(1 << 62);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The tick `by` later; the last tick there is when that is out of range.
    pub(crate) fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    /// The tick `by` earlier; the least tick when that is out of range.
    pub(crate) fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The next representable tick: strictly later than this one.
    pub(crate) const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// A point on the wall clock, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Wall(u64);

impl Wall {
    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) fn from_system(time: SystemTime) -> Self {
        Self(nanos(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    #[cfg(feature = "testing")]
    pub(crate) const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    pub(crate) fn to_system(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.0)
    }

    pub(crate) fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(nanos(by)))
    }

    pub(crate) fn before(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(by)))
    }

    pub(crate) const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// The same instant on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) tick: Tick,
    pub(crate) wall: Wall,
}

impl Moment {
    #[cfg(target_os = "linux")]
    const ZERO: Self = Self {
        tick: Tick(0),
        wall: Wall(0),
    };

    pub(crate) fn after(self, by: Duration) -> Self {
        Self {
            tick: self.tick.after(by),
            wall: self.wall.after(by),
        }
    }
}

/// How times and durations are serialized: in seconds, times since 1970.
pub(crate) mod seconds {
    use std::time::{Duration, SystemTime};

    use serde::Serializer;

    use super::Wall;

    pub(crate) fn duration<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serialize(duration.map(|duration| duration.as_secs_f64()), serializer)
    }

    pub(crate) fn time<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let since = |time| Wall::from_system(time).since(Wall::default());
        serialize(time.map(|time| since(time).as_secs_f64()), serializer)
    }

    fn serialize<S: Serializer>(seconds: Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        match seconds {
            Some(seconds) => serializer.serialize_some(&seconds),
            None => serializer.serialize_none(),
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Where an [`Auth`](crate::Auth) and its handles read the time.
///
/// The default is the system's; a test passes the clock of
/// `testing::TestClock` instead.
#[derive(Clone, Debug, Default)]
pub struct Clock(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    System,
    #[cfg(feature = "testing")]
    Test(crate::testing::TestClock),
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    #[cfg(feature = "testing")]
    pub(crate) const fn test(clock: crate::testing::TestClock) -> Self {
        Self(Kind::Test(clock))
    }

    /// Both clocks, precise.
    pub(crate) fn now(&self) -> Moment {
        Moment {
            tick: self.tick(),
            wall: self.wall(),
        }
    }

    pub(crate) fn tick(&self) -> Tick {
        match &self.0 {
            Kind::System => system::tick(),
            #[cfg(feature = "testing")]
            Kind::Test(clock) => clock.tick(),
        }
    }

    pub(crate) fn wall(&self) -> Wall {
        match &self.0 {
            Kind::System => system::wall(),
            #[cfg(feature = "testing")]
            Kind::Test(clock) => clock.wall(),
        }
    }

    /// Both clocks as a request path reads them: ahead of the precise ones by a scheduler tick at
    /// most (4 ms on common kernels), and behind only where the kernel's own tick is late, so that
    /// nothing is used beyond its end.
    #[inline]
    pub(crate) fn coarse(&self) -> Moment {
        match &self.0 {
            Kind::System => system::coarse(),
            #[cfg(feature = "testing")]
            Kind::Test(_) => self.now(),
        }
    }

    pub(crate) fn coarse_wall(&self) -> Wall {
        match &self.0 {
            Kind::System => system::coarse_wall(),
            #[cfg(feature = "testing")]
            Kind::Test(clock) => clock.wall(),
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::cell::Cell;
    use std::time::Duration;

    use super::{Moment, Tick, Wall};
    use rustix::time::{ClockId, Timespec, clock_getres, clock_gettime};

    pub(super) fn tick() -> Tick {
        let since_boot = nanos(clock_gettime(ClockId::Boottime));
        Tick(Tick::ORIGIN.0.saturating_add(since_boot))
    }

    pub(super) fn wall() -> Wall {
        Wall(nanos(clock_gettime(ClockId::Realtime)))
    }

    pub(super) fn coarse_wall() -> Wall {
        Wall(nanos(clock_gettime(ClockId::RealtimeCoarse)))
    }

    /// Before the machine started.
    const NEVER: Timespec = Timespec {
        tv_sec: -1,
        tv_nsec: 0,
    };

    /// What this thread read last is good for as long as the kernel's coarse clock stands still: it
    /// moves with every scheduler tick, and when a clock is set or the machine wakes up. It costs a
    /// quarter of a precise one.
    #[inline]
    pub(super) fn coarse() -> Moment {
        thread_local! {
            static LAST: Cell<(Timespec, Moment)> = const { Cell::new((NEVER, Moment::ZERO)) };
        }
        let now = clock_gettime(ClockId::MonotonicCoarse);
        let (read_at, moment) = LAST.get();
        if read_at == now {
            return moment;
        }
        let moment = end_of_tick();
        LAST.set((now, moment));
        moment
    }

    /// What a reading is to be good for.
    #[cold]
    fn end_of_tick() -> Moment {
        let precise = Moment {
            tick: tick(),
            wall: wall(),
        };
        precise.after(resolution())
    }

    fn resolution() -> Duration {
        Duration::from_nanos(nanos(clock_getres(ClockId::MonotonicCoarse)))
    }

    fn nanos(time: Timespec) -> u64 {
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(rest)
    }
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is where clocks are read")]
mod system {
    use super::{Moment, Tick, Wall};
    use std::sync::OnceLock;
    use std::time::{Instant, SystemTime};

    pub(super) fn tick() -> Tick {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        Tick::ORIGIN.after(ORIGIN.get_or_init(Instant::now).elapsed())
    }

    pub(super) fn wall() -> Wall {
        Wall::from_system(SystemTime::now())
    }

    pub(super) fn coarse_wall() -> Wall {
        wall()
    }

    pub(super) fn coarse() -> Moment {
        Moment {
            tick: tick(),
            wall: wall(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_path_reads_what_the_actors_read() {
        let clock = Clock::system();
        // Far more than a tick, on a machine that is not asked often enough itself.
        let slack = Duration::from_millis(500);
        for _ in 0..100_000 {
            let before = clock.tick();
            let coarse = clock.coarse().tick;
            let after = clock.tick();
            assert!(coarse.after(slack) >= before && coarse <= after.after(slack));
        }
    }
}
