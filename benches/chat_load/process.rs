//! What does a process take? As Linux counts it.

use std::fs::read_to_string;

use anyhow::Context;

/// A process, by its number.
#[derive(Clone, Copy)]
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// MiB of a line of its status: `VmRSS`, what is resident now, or `VmHWM`, the most that ever
    /// was.
    pub(crate) fn mebibytes(self, line: &str) -> anyhow::Result<f64> {
        let status = read_to_string(format!("/proc/{}/status", self.0))?;
        let found = status.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(':'));
        let kibibytes = found.and_then(|value| value.split_whitespace().next());
        Ok(kibibytes.with_context(|| format!("{line} is not there"))?.parse::<f64>()? / 1024.0)
    }

    /// Seconds of a core that it has had so far. Linux counts them in hundredths on every platform
    /// that it tells programs of.
    pub(crate) fn seconds(self) -> anyhow::Result<f64> {
        let stat = read_to_string(format!("/proc/{}/stat", self.0))?;
        let (_, after_name) = stat.rsplit_once(')').context("the process has no name")?;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |place: usize| {
            fields
                .get(place)
                .context("a field is not there")?
                .parse::<f64>()
                .map_err(anyhow::Error::from)
        };
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }
}
