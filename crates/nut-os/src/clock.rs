//! The one clock: boot time to decide by, wall time for texts, and waiting for a moment.
//!
//! Waiting is a kernel timer on the boot clock (`timerfd`, `CLOCK_BOOTTIME`), not tokio's: tokio counts a clock that
//! stands still while the machine sleeps, so after a suspend of an hour its timers would be an hour late, and to notice
//! that one would have to wake up periodically. This timer fires as soon as the machine is awake, and costs nothing
//! while it waits.

pub(crate) mod wall;

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{self, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use nut_proto::Moment;
use tokio::io::unix::AsyncFd;

pub use wall::WallTime;

/// What the boot clock shows: time since the machine was started, sleep included.
#[must_use]
pub fn now() -> Moment {
    Moment::from_start(read(ClockId::CLOCK_BOOTTIME))
}

/// For how long the machine has been suspended, all in all, since it was started.
#[must_use]
pub fn suspended() -> Duration {
    // In this order: what passes between the two is not taken for sleep.
    let boot = read(ClockId::CLOCK_BOOTTIME);
    boot.saturating_sub(read(ClockId::CLOCK_MONOTONIC))
}

/// What the wall clock shows. For texts that people read; nothing may be decided by it.
#[must_use]
pub fn wall() -> WallTime {
    WallTime::from_unix(read(ClockId::CLOCK_REALTIME))
}

/// What tells this boot of the machine from all others; nothing where the kernel does not say.
#[must_use]
pub fn boot_id() -> Option<String> {
    let text = crate::files::read_limited(Path::new("/proc/sys/kernel/random/boot_id"), 64).ok()?;
    let id = String::from_utf8(text).ok()?.trim().to_owned();
    (!id.is_empty()).then_some(id)
}

/// Microseconds of `CLOCK_MONOTONIC`, which the service manager wants with a reload.
pub(crate) fn monotonic_micros() -> u128 {
    read(ClockId::CLOCK_MONOTONIC).as_micros()
}

fn read(clock: ClockId) -> Duration {
    // These three clocks always exist on Linux, and a time before 1970 is shown as 1970.
    clock_gettime(clock)
        .ok()
        .and_then(|time| {
            let nanos = u32::try_from(time.tv_nsec()).ok()?;
            Some(Duration::new(u64::try_from(time.tv_sec()).ok()?, nanos))
        })
        .unwrap_or_default()
}

/// Waits until the boot clock shows `moment`; returns at once if it is past. Sleep of the machine counts.
///
/// For a wait in a loop keep an [`Alarm`]: this makes a new kernel timer each time.
pub async fn until(moment: Moment) {
    let Ok(mut alarm) = Alarm::new() else {
        return until_without_timer(moment).await;
    };
    alarm.set(Some(moment));
    alarm.fired().await;
}

/// The way out when no descriptor is left for a kernel timer: look at the clock at least every ten seconds.
async fn until_without_timer(moment: Moment) {
    loop {
        let left = moment.since(now());
        if left.is_zero() {
            return;
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what `until` is made of; the boot clock is asked each round"
        )]
        tokio::time::sleep(left.min(Duration::from_secs(10))).await;
    }
}

/// One wake-up time on the boot clock that can be set again and again.
///
/// It fires once for each [`set`](Self::set). Waiting can be given up (as in `select!`) without losing anything.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<Timer>,
    set_for: Option<Moment>,
    /// The kernel refused the setting, which it does for no value we give it; then the clock is watched instead.
    by_hand: bool,
}

impl Alarm {
    /// An alarm that is not set. Must be called inside a tokio runtime with I/O enabled.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(timerfd::ClockId::CLOCK_BOOTTIME, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; `Timer` keeps one descriptor as long as it lives"
        )]
        let timer = AsyncFd::new(Timer(timer))?;
        Ok(Self { timer, set_for: None, by_hand: false })
    }

    /// Sets the alarm for this moment (a past one fires at once), or to never with `None`.
    ///
    /// Setting it for the moment it is already set for costs nothing.
    pub fn set(&mut self, moment: Option<Moment>) {
        if moment == self.set_for {
            return;
        }
        self.set_for = moment;
        let Timer(timer) = self.timer.get_ref();
        let done = match moment {
            Some(moment) => {
                timer.set(Expiration::OneShot(absolute(moment)), TimerSetTimeFlags::TFD_TIMER_ABSTIME)
            }
            None => timer.unset(),
        };
        self.by_hand = done.is_err();
    }

    /// When the alarm will fire, if it is set.
    #[must_use]
    pub fn set_for(&self) -> Option<Moment> {
        self.set_for
    }

    /// Waits until the alarm fires; forever if it is not set. Afterwards it is not set.
    pub async fn fired(&mut self) {
        let Some(moment) = self.set_for else {
            return std::future::pending().await;
        };
        while now() < moment {
            if self.by_hand {
                until_without_timer(moment).await;
                continue;
            }
            match poll_fn(|context| self.timer.poll_read_ready(context)).await {
                // Setting the timer made it forget earlier expiries, but the event may still be left over from one.
                Ok(mut ready) => match nix::unistd::read(&ready.get_inner().0, &mut [0; 8]) {
                    Err(nix::errno::Errno::EAGAIN) => ready.clear_ready(),
                    _ => break,
                },
                // The runtime is shutting down, and this task with it.
                Err(_) => return std::future::pending().await,
            }
        }
        self.set_for = None;
    }
}

/// `nix`'s timer in the form that tokio wants.
#[derive(Debug)]
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Zero would switch the timer off, and the end of time is more than the kernel takes.
fn absolute(moment: Moment) -> TimeSpec {
    const FAR: Duration = Duration::from_secs(100 * 366 * 24 * 3600);
    TimeSpec::from_duration(moment.since_start().clamp(Duration::from_nanos(1), FAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_millis(millis: u64) -> Moment {
        now().after(Duration::from_millis(millis))
    }

    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what).await.expect("within the deadline")
    }

    #[test]
    fn the_boot_has_a_name_that_stays() {
        let id = boot_id();
        assert!(id.as_ref().is_some_and(|id| id.len() == 36), "{id:?}");
        assert_eq!(boot_id(), id);
    }

    #[test]
    fn a_machine_that_runs_does_not_sleep() {
        let before = suspended();
        let after = suspended();
        assert!(after.abs_diff(before) < Duration::from_secs(1), "{before:?} {after:?}");
    }

    #[test]
    fn the_clock_goes_forward() {
        let first = now();
        assert!(first > Moment::START);
        assert!(now() >= first);
    }

    #[tokio::test]
    async fn until_waits_as_long_as_it_must_and_no_longer() {
        let moment = in_millis(30);
        soon(until(moment)).await;
        assert!(now() >= moment);
        soon(until(Moment::START)).await;
        soon(until_without_timer(in_millis(5))).await;
    }

    #[tokio::test]
    async fn an_alarm_that_is_not_set_never_fires() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(in_millis(10)));
        alarm.set(None);
        let moment = in_millis(40);
        tokio::select! {
            () = alarm.fired() => panic!("fired although it is not set"),
            () = soon(until(moment)) => {}
        }
    }

    #[tokio::test]
    async fn an_alarm_can_be_set_again_earlier_and_later() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(in_millis(3_600_000)));
        alarm.set(Some(in_millis(1)));
        soon(alarm.fired()).await;
        assert_eq!(alarm.set_for(), None);
        // It has fired in the kernel before it is set for later: that old event must not count.
        alarm.set(Some(in_millis(1)));
        soon(until(in_millis(5))).await;
        let later = in_millis(30);
        alarm.set(Some(later));
        soon(alarm.fired()).await;
        assert!(now() >= later);
    }

    #[tokio::test]
    async fn giving_up_waiting_loses_nothing() {
        let mut alarm = Alarm::new().unwrap();
        let moment = in_millis(30);
        alarm.set(Some(moment));
        for _ in 0..3 {
            tokio::select! {
                biased;
                () = alarm.fired() => panic!("too early"),
                () = std::future::ready(()) => {}
            }
        }
        soon(alarm.fired()).await;
        assert!(now() >= moment);
    }

    #[tokio::test]
    async fn the_ends_of_time_can_be_set() {
        let mut alarm = Alarm::new().unwrap();
        alarm.set(Some(Moment::START.after(Duration::MAX)));
        assert!(!alarm.by_hand);
        alarm.set(Some(Moment::START));
        assert!(!alarm.by_hand);
        soon(alarm.fired()).await;
    }
}
