//! Numbers from samples, and how they are printed.

use std::time::Duration;

/// What was measured of both, each sample beside the other's.
#[derive(Default)]
pub struct Pair {
    pub ours: Vec<f64>,
    pub raw: Vec<f64>,
}

impl Pair {
    pub fn push(&mut self, ours: Duration, raw: Duration) {
        self.ours.push(micros(ours));
        self.raw.push(micros(raw));
    }
}

pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

pub fn quantile(samples: &[f64], q: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    sorted[(last as f64 * q).round() as usize]
}

pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// Whether more or less is better, and where a ratio is to be.
#[derive(Clone, Copy)]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
    None,
}

pub struct Report {
    json: bool,
    pub missed: Vec<String>,
}

impl Report {
    pub fn new(json: bool) -> Self {
        if !json {
            println!(
                "{:<22} {:>11} {:>11} {:>11} {:>7}  target",
                "measure", "median us", "p99 us", "raw us", "ratio"
            );
        }
        Self {
            json,
            missed: Vec::new(),
        }
    }

    /// A line on times, by the ratio of the medians.
    pub fn times(&mut self, measure: &str, pair: &Pair, target: Target) {
        let ratio = median(&pair.ours) / median(&pair.raw);
        self.line(measure, pair, ratio, target);
    }

    /// A line on throughput: the times are those per operation, the ratio that
    /// of the rates.
    pub fn rates(&mut self, measure: &str, pair: &Pair, target: Target) {
        let ratio = median(&pair.raw) / median(&pair.ours);
        self.line(measure, pair, ratio, target);
    }

    fn line(&mut self, measure: &str, pair: &Pair, ratio: f64, target: Target) {
        let (ours, p99, raw) = (
            median(&pair.ours),
            quantile(&pair.ours, 0.99),
            median(&pair.raw),
        );
        let (wanted, met) = match target {
            Target::AtMost(limit) => (format!("<= {limit:.2}"), ratio <= limit),
            Target::AtLeast(limit) => (format!(">= {limit:.2}"), ratio >= limit),
            Target::None => (String::new(), true),
        };
        if !met {
            self.missed
                .push(format!("{measure}: {ratio:.2}, wanted {wanted}"));
        }
        if self.json {
            println!(
                r#"{{"measure":"{measure}","median_us":{ours:.2},"p99_us":{p99:.2},"raw_median_us":{raw:.2},"ratio":{ratio:.3}}}"#
            );
        } else {
            let missed = if met { "" } else { "  MISSED" };
            println!(
                "{measure:<22} {ours:>11.2} {p99:>11.2} {raw:>11.2} {ratio:>7.2}  {wanted}{missed}"
            );
        }
    }

    /// Something else to say, in the table only.
    pub fn note(&self, text: &str) {
        if !self.json {
            println!("{text}");
        }
    }
}
