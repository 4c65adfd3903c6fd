//! The two text forms that Prometheus reads: its own, 0.0.4, and OpenMetrics 1.0.

use std::fmt::{self, Write as _};
use std::time::Duration;

use super::counter::{Histogram, Tally};
use super::table::{Kind, Metric};

/// A text form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' own, 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// What an `Accept` field prefers of the two. Who names neither gets Prometheus' own.
    pub fn of_accept(accept: Option<&str>) -> Format {
        let quality = |name: &str| {
            let ranges = accept.unwrap_or_default().split(',');
            let named = ranges.filter(|range| media_type(range).eq_ignore_ascii_case(name));
            named.map(quality_of).fold(0.0, f32::max)
        };
        let wanted = quality("application/openmetrics-text");
        if wanted > 0.0 && wanted >= quality("text/plain") { Format::OpenMetrics } else { Format::Text }
    }

    /// `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

fn media_type(range: &str) -> &str {
    range.split(';').next().unwrap_or_default().trim()
}

/// `q` of a media range (RFC 9110, 12.4.2): one without is wanted most, one that cannot be read not at all.
fn quality_of(range: &str) -> f32 {
    let parameter = |text: &str| {
        let (name, value) = text.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
    };
    range.split(';').skip(1).find_map(parameter).unwrap_or(1.0)
}

/// A number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// A whole one.
    Whole(u64),
    /// Any other.
    Real(f64),
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Whole(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Value {
        Value::Whole(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Value {
        Value::Whole(number as u64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Value {
        Value::Whole(is_so.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Value {
        Value::Real(number)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Value {
        Value::Real(time.as_secs_f64())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(number) => number.fmt(f),
            Value::Real(number) if number.is_nan() => f.write_str("NaN"),
            Value::Real(number) if number.is_infinite() => {
                f.write_str(if *number > 0.0 { "+Inf" } else { "-Inf" })
            }
            Value::Real(number) => number.fmt(f),
        }
    }
}

/// What is written for one scrape. Each metric is written once, with all its samples.
#[derive(Debug)]
pub struct Exposition {
    format: Format,
    text: String,
}

impl Exposition {
    /// Nothing yet.
    pub fn new(format: Format) -> Exposition {
        // A scrape of a worker has some 15 KiB.
        Exposition { format, text: String::with_capacity(16 * 1024) }
    }

    /// A metric without labels.
    pub fn value(&mut self, metric: &Metric, value: impl Into<Value>) {
        self.values(metric, [([], value)]);
    }

    /// A metric with labels, in the order of the table.
    pub fn values<'l, const N: usize, V: Into<Value>>(
        &mut self,
        metric: &Metric,
        samples: impl IntoIterator<Item = ([&'l str; N], V)>,
    ) {
        self.head(metric);
        debug_assert_eq!(metric.labels.len(), N, "labels of {}", metric.name);
        for (labels, value) in samples {
            self.sample(metric, "", (labels.as_slice(), None), value.into());
        }
    }

    /// A metric with one label: each word of a tally.
    pub fn tally(&mut self, metric: &Metric, tally: &Tally) {
        self.values(metric, tally.iter().map(|(word, count)| ([word], count)));
    }

    /// A histogram.
    pub fn histogram(&mut self, metric: &Metric, histogram: &Histogram) {
        self.head(metric);
        let counts = histogram.cumulated();
        for (bound, count) in &counts {
            let bound = bound.map_or(Value::Real(f64::INFINITY), Value::Real).to_string();
            self.sample(metric, "_bucket", (&[], Some(&bound)), Value::Whole(*count));
        }
        self.sample(metric, "_sum", (&[], None), Value::Real(histogram.sum()));
        let all = counts.last().map_or(0, |(_, count)| *count);
        self.sample(metric, "_count", (&[], None), Value::Whole(all));
    }

    /// The whole of it.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn head(&mut self, metric: &Metric) {
        let (name, format) = (self.family(metric), self.format);
        // Writing to a String cannot fail.
        let _ = write!(self.text, "# HELP {name} ");
        escape(&mut self.text, metric.help, format == Format::OpenMetrics);
        let _ = writeln!(self.text, "\n# TYPE {name} {}", metric.kind.word());
        if let (Format::OpenMetrics, Some(unit)) = (format, metric.unit.word()) {
            let _ = writeln!(self.text, "# UNIT {name} {unit}");
        }
    }

    /// OpenMetrics gives a counter's samples `_total`, and its family none.
    fn family(&self, metric: &Metric) -> &'static str {
        match (self.format, metric.kind) {
            (Format::OpenMetrics, Kind::Counter) => metric.name.strip_suffix("_total").unwrap_or(metric.name),
            _ => metric.name,
        }
    }

    fn sample(
        &mut self,
        metric: &Metric,
        suffix: &str,
        (values, bound): (&[&str], Option<&str>),
        value: Value,
    ) {
        self.text.push_str(metric.name);
        self.text.push_str(suffix);
        let labels = metric.labels.iter().copied().zip(values.iter().copied());
        let labels = labels.chain(bound.map(|bound| ("le", bound)));
        let mut opening = '{';
        for (name, value) in labels {
            self.text.push(opening);
            self.text.push_str(name);
            self.text.push_str("=\"");
            escape(&mut self.text, value, true);
            self.text.push('"');
            opening = ',';
        }
        if opening == ',' {
            self.text.push('}');
        }
        let _ = writeln!(self.text, " {value}");
    }
}

/// Appends text with what would end it escaped.
fn escape(out: &mut String, text: &str, quotes: bool) {
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            letter => out.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::{On, Unit};
    use super::*;

    const METRIC: Metric = Metric {
        name: "x_bytes_total",
        on: On::Both,
        kind: Kind::Counter,
        unit: Unit::Bytes,
        labels: &["way"],
        help: "A \"quoted\" \\ thing.",
    };

    #[test]
    fn both_forms_are_written_as_their_specifications_say() {
        let written = |format| {
            let mut page = Exposition::new(format);
            page.values(&METRIC, [(["in"], 1u64), (["o\"\\\nut"], 2)]);
            page.finish()
        };
        let samples = "x_bytes_total{way=\"in\"} 1\nx_bytes_total{way=\"o\\\"\\\\\\nut\"} 2\n";
        let text = "# HELP x_bytes_total A \"quoted\" \\\\ thing.\n# TYPE x_bytes_total counter\n";
        assert_eq!(written(Format::Text), format!("{text}{samples}"));
        let open =
            "# HELP x_bytes A \\\"quoted\\\" \\\\ thing.\n# TYPE x_bytes counter\n# UNIT x_bytes bytes\n";
        assert_eq!(written(Format::OpenMetrics), format!("{open}{samples}# EOF\n"));
    }

    #[test]
    fn a_histogram_has_its_buckets_sum_and_count() {
        let metric =
            Metric { name: "y_seconds", kind: Kind::Histogram, unit: Unit::Seconds, labels: &[], ..METRIC };
        let histogram = Histogram::new(&[250, 1_000]);
        [100, 2_000].iter().for_each(|ms| histogram.observe(Duration::from_millis(*ms)));
        let mut page = Exposition::new(Format::Text);
        page.histogram(&metric, &histogram);
        let text = page.finish();
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "y_seconds_bucket{le=\"0.25\"} 1",
            "y_seconds_bucket{le=\"1\"} 1",
            "y_seconds_bucket{le=\"+Inf\"} 2",
            "y_seconds_sum 2.1",
            "y_seconds_count 2",
        ];
        assert_eq!(samples, expected);
    }

    #[test]
    fn numbers_are_spelt_as_prometheus_reads_them() {
        let shown =
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.5, 3.0, 1e18].map(|n| Value::Real(n).to_string());
        assert_eq!(shown, ["NaN", "+Inf", "-Inf", "0.5", "3", "1000000000000000000"]);
    }

    // SPEC 9 metrics: OpenMetrics 1.0 for whoever prefers it, else Prometheus' text 0.0.4
    // Also: `both_roles_write_every_metric_of_the_table_and_no_other`
    #[test]
    fn openmetrics_is_sent_to_whoever_prefers_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for open in [
            prometheus,
            "application/openmetrics-text",
            "text/plain;q=0.3, Application/OpenMetrics-Text; Q=0.4",
        ] {
            assert_eq!(Format::of_accept(Some(open)), Format::OpenMetrics, "{open}");
        }
        for plain in [
            "*/*",
            "text/plain",
            "",
            "application/openmetrics-text;q=0",
            "text/html, text/plain, application/openmetrics-text;q=0.9",
        ] {
            assert_eq!(Format::of_accept(Some(plain)), Format::Text, "{plain}");
        }
        assert_eq!(Format::of_accept(None), Format::Text);
    }
}
