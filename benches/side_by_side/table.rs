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

pub fn row(what: &str, ours: &Outcome, against: Option<(&str, f64, Option<Duration>)>) {
    let ms = |time: Duration| format!("{:.2}", time.as_secs_f64() * 1000.0);
    let (held, rate, p99, ratio) = match against {
        None => (String::new(), String::new(), String::new(), String::new()),
        Some((held, rate, p99)) => (
            held.to_owned(),
            format!("{rate:.0}"),
            p99.map_or_else(String::new, ms),
            format!("{:.2}", ours.per_second / rate),
        ),
    };
    println!(
        "| {what} | {:.0} | {} | {} | {} | {held} | {rate} | {p99} | {ratio} |",
        ours.per_second,
        ms(ours.p50),
        ms(ours.p99),
        ours.errors
    );
}
