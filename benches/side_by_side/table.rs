//! The table that is printed: medians over the rounds, one line for each row.

use std::time::Duration;

use crate::load::Outcome;

pub fn head() {
    println!("\n| what | Grantlog/s | p50 ms | p99 ms | errors | held against | its rate/s | its p99 ms | ratio |");
    println!("|---|---|---|---|---|---|---|---|---|");
}

pub fn median<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Outcome {
    let mut all: Vec<&Outcome> = outcomes.collect();
    all.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    let errors = all.iter().map(|outcome| outcome.errors).sum();
    Outcome { errors, ..all[all.len() / 2].clone() }
}

/// What a row is held against: its name, and for each round its rate and perhaps its p99.
pub type Theirs<'a> = (&'a str, &'a [(f64, Option<Duration>)]);

/// A row whose rounds were measured in turn with those of what it is held against. Its ratio is the median of the rounds' own
/// ratios: a machine that is slower for a while is so for both.
pub fn paired(what: &str, ours: &[Outcome], (held, theirs): Theirs<'_>) {
    let ratio = middle(ours.iter().zip(theirs).map(|(ours, (rate, _))| ours.per_second / rate));
    let rate = middle(theirs.iter().map(|(rate, _)| *rate));
    let p99 = middle(theirs.iter().filter_map(|(_, p99)| p99.map(|p99| p99.as_secs_f64())));
    let p99 = p99.is_finite().then(|| Duration::from_secs_f64(p99));
    print(what, &median(ours.iter()), Some((held, rate, p99, ratio)));
}

pub fn row(what: &str, ours: &Outcome, against: Option<(&str, f64, Option<Duration>)>) {
    print(what, ours, against.map(|(held, rate, p99)| (held, rate, p99, ours.per_second / rate)));
}

/// The median; no number of none.
pub fn middle(figures: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = figures.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(what: &str, ours: &Outcome, against: Option<(&str, f64, Option<Duration>, f64)>) {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    let (held, rate, p99, ratio) = match against {
        None => (String::new(), String::new(), String::new(), String::new()),
        Some((held, rate, p99, ratio)) => {
            (held.to_owned(), format!("{rate:.0}"), p99.map_or_else(String::new, ms), format!("{ratio:.2}"))
        }
    };
    println!(
        "| {what} | {:.0} | {} | {} | {} | {held} | {rate} | {p99} | {ratio} |",
        ours.per_second,
        ms(ours.p50),
        ms(ours.p99),
        ours.errors
    );
}
