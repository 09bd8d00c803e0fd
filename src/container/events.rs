//! `events`: what a container uses, now and from time to time, and when it runs out of memory.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::store::{InitProcess, Record};
use super::{Container, intel_rdt, liveness};
use crate::cgroup::{Cgroup, OomWatch, Stats, parse_interfaces};
use crate::error::{Context as _, Error, Kind, Result};

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// What it has used up to now.
    Stats(Box<Stats>),
    /// The kernel found no memory for it.
    Oom,
}

/// The events of a container, until its end. Between events it waits.
#[derive(Debug)]
pub struct Events {
    record: Record,
    init: InitProcess,
    pidfd: OwnedFd,
    oom: Option<OomWatch>,
    /// Notifications that were not handed out yet.
    pending: u64,
    interval: Duration,
    next: Instant,
    ended: bool,
}

pub(super) fn stats(container: &Container) -> Result<Stats> {
    let record = container.record()?;
    let (init, _) = running(&record)?;
    read(&record, init)
}

pub(super) fn events(container: &Container, interval: Duration) -> Result<Events> {
    let record = container.record()?;
    let (init, pidfd) = running(&record)?;
    let oom = Cgroup::from_record(&record.cgroup).watch_oom()?;
    let next = Instant::now() + interval;
    Ok(Events { record, init, pidfd, oom, pending: 0, interval, next, ended: false })
}

fn running(record: &Record) -> Result<(InitProcess, OwnedFd)> {
    let init = record.init.map(|init| Ok::<_, Error>((init, liveness::open(init)?))).transpose()?;
    match init {
        Some((init, Some(pidfd))) => Ok((init, pidfd)),
        _ => Err(Error::new(Kind::Status, "container not running")),
    }
}

fn read(record: &Record, init: InitProcess) -> Result<Stats> {
    let mut stats = Cgroup::from_record(&record.cgroup).stats()?;
    if let Some(group) = &record.intel_rdt {
        stats.intel_rdt = group.stats(&intel_rdt::root()?)?;
    }
    let namespace = |process: &str| std::fs::read_link(Path::new("/proc").join(process).join("ns/net")).ok();
    let pid = init.pid.to_string();
    // In the host's own namespace the figures would be those of everybody.
    if let Some(own) = namespace(&pid).filter(|own| namespace("self").is_some_and(|host| host != *own)) {
        let table = std::fs::read_to_string(format!("/proc/{pid}/net/dev"));
        // A process that ended since has no table; that it had this namespace is not known any more either.
        stats.network_interfaces = table.ok().filter(|_| namespace(&pid) == Some(own)).as_deref().map(parse_interfaces);
    }
    Ok(stats)
}

impl Events {
    fn wait(&mut self) -> Result<Option<Event>> {
        loop {
            if self.pending > 0 {
                self.pending -= 1;
                return Ok(Some(Event::Oom));
            }
            if self.ended {
                return Ok(None);
            }
            // Also when a report is due: making one may take longer than the interval.
            self.watch()?;
            if self.ended || self.pending > 0 || Instant::now() < self.next {
                continue;
            }
            // What could not be reported in time is left out.
            self.next = (self.next + self.interval).max(Instant::now());
            match read(&self.record, self.init) {
                Ok(stats) => return Ok(Some(Event::Stats(Box::new(stats)))),
                Err(_) if liveness::open(self.init)?.is_none() => self.ended = true,
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for the end, a notification or the next report, whichever comes first.
    fn watch(&mut self) -> Result<()> {
        let left = self.next.saturating_duration_since(Instant::now());
        // Rounded up, so that no turn is spent on a part of a millisecond.
        let left = if left.is_zero() { left } else { left.saturating_add(Duration::from_micros(999)) };
        let mut watched = vec![PollFd::new(self.pidfd.as_fd(), PollFlags::POLLIN)];
        watched.extend(self.oom.as_ref().map(OomWatch::poll_for).map(|(fd, flags)| PollFd::new(fd, flags)));
        match poll(&mut watched, PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for events"),
        }
        self.ended = watched.first().is_some_and(|pidfd| pidfd.any().unwrap_or(false));
        if let Some(oom) = &mut self.oom {
            self.pending += oom.take()?;
        }
        Ok(())
    }
}

impl Iterator for Events {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.wait().transpose();
        self.ended |= matches!(event, Some(Err(_)));
        event
    }
}
