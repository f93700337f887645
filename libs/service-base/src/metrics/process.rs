//! What this process uses, read from `/proc` when metrics are collected. Nothing where there is none.

use std::fs;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

/// Linux reports processor time in this unit to every program, whatever the kernel's own tick is.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::new(bytes);
            let metric = encoder.encode_descriptor(
                "process_resident_memory_bytes",
                "Memory in use",
                None,
                gauge.metric_type(),
            )?;
            gauge.encode(metric)?;
        }
        if let Some(seconds) = cpu_seconds() {
            let counter = ConstCounter::new(seconds);
            let metric =
                encoder.encode_descriptor("process_cpu_seconds", "Processor time used", None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        if let Some(count) = open_files() {
            let gauge = ConstGauge::new(count);
            let metric =
                encoder.encode_descriptor("process_open_fds", "Open file descriptors", None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        let gauge = ConstGauge::new(i64::try_from(crate::descriptors::limit()).unwrap_or(i64::MAX));
        let metric = encoder.encode_descriptor(
            "process_max_fds",
            "File descriptors that may be open at the most",
            None,
            gauge.metric_type(),
        )?;
        gauge.encode(metric)?;
        Ok(())
    }
}

fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, which may hold anything; after its parenthesis comes the third.
    let rest = stat.rsplit_once(')')?.1;
    let mut ticks = rest.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u32>().ok());
    Some((f64::from(ticks.next()?) + f64::from(ticks.next()?)) / TICKS_PER_SECOND)
}

fn open_files() -> Option<i64> {
    i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

#[cfg(test)]
mod tests {
    use crate::metrics::Metrics;

    #[test]
    fn this_process_uses_something() {
        let metrics = Metrics::new();
        metrics.register_process();
        metrics.register_process();
        let page = metrics.encode();
        let value = |name: &str| {
            let line = page.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap_or_default();
            line.parse::<f64>().unwrap_or_else(|_| panic!("{name} is missing in\n{page}"))
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0 && value("process_open_fds") > 2.0);
        assert!(value("process_max_fds") > value("process_open_fds"));
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert_eq!(page.matches("# TYPE process_open_fds").count(), 1);
    }
}
