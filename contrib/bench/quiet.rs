//! Waiting for a moment in which nobody else uses the processors.

use std::thread;
use std::time::{Duration, Instant};

/// How long one look lasts.
const LOOK: Duration = Duration::from_millis(200);
/// The share of the processors' time that others may use in a quiet moment.
const QUIET: f64 = 0.1;

/// What is left of the time that may be spent waiting.
pub struct Patience(Duration);

impl Patience {
    pub fn new(all: Duration) -> Patience {
        Patience(all)
    }

    /// Waits for a quiet moment; false if there was none in time.
    pub fn wait(&mut self) -> bool {
        let began = Instant::now();
        loop {
            let busy = busy_share();
            if busy < QUIET {
                self.0 = self.0.saturating_sub(began.elapsed());
                return true;
            }
            if began.elapsed() >= self.0 {
                self.0 = Duration::ZERO;
                return false;
            }
        }
    }
}

/// The share of all processors' time that was not idle during one look. 0 without procfs.
fn busy_share() -> f64 {
    let before = times();
    thread::sleep(LOOK);
    let after = times();
    let (all, idle) = (after.0 - before.0, after.1 - before.1);
    if all == 0 { 0.0 } else { 1.0 - idle as f64 / all as f64 }
}

/// The first line of /proc/stat: all ticks, and those of idleness (columns 4 and 5).
fn times() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).map(|word| word.parse().unwrap_or(0)).collect();
    (ticks.iter().sum(), ticks.iter().skip(3).take(2).sum())
}
