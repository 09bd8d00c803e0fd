//! The table, the figures for programs, and the plot.

use std::fmt::Write;
use std::time::Duration;

use super::workload::Contestant;

/// One workload's turns, of every contestant in its order.
pub struct Row {
    pub title: String,
    /// Whether the machine was quiet when it began.
    pub was_quiet: bool,
    /// None for a turn that hung.
    pub turns: Vec<Vec<Option<Duration>>>,
}

pub fn print_head(contestants: &[Contestant]) {
    print!("{:<36}", "milliseconds");
    for contestant in contestants {
        print!("{:>26}", contestant.name);
    }
    println!("\n{:<36}{}", "", format!("{:>10}{:>9}{:>7}", "median", "least", "x").repeat(contestants.len()));
}

pub fn print_row(row: &Row) {
    print!("{:<36}", row.title);
    let reference = reference(row);
    for turns in &row.turns {
        let times = sorted(turns);
        let hung = turns.len() - times.len();
        match (median(turns), times.first()) {
            (Some(median), Some(least)) => print!("{median:>10.2}{least:>9.2}{:>7.2}", median / reference),
            _ => print!("{:>26}", "–"),
        }
        if hung > 0 {
            print!(" ({hung} hung)");
        }
    }
    println!("{}", if row.was_quiet { "" } else { "  (not quiet)" });
}

/// Title, whether it was quiet, and for each contestant median, minimum and number of hangs, tab-separated.
pub fn print_medians(row: &Row) {
    print!("{}\t{}", row.title, if row.was_quiet { "quiet" } else { "loud" });
    for turns in &row.turns {
        let times = sorted(turns);
        match (median(turns), times.first()) {
            (Some(median), Some(least)) => print!("\t{median:.2}\t{least:.2}\t{}", turns.len() - times.len()),
            _ => print!("\t–\t–\t{}", turns.len()),
        }
    }
    println!();
}

/// Bars of the ratios to the first contestant that takes part, a group for each workload (SVG 1.1).
pub fn plot(contestants: &[Contestant], rows: &[Row]) -> String {
    const COLOURS: [&str; 6] = ["#888888", "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd"];
    const LEFT: usize = 260;
    const WIDTH: usize = 620;
    const BAR: usize = 14;
    let mut svg = String::new();
    let mut y = 40;
    let mut body = String::new();
    let largest = rows.iter().flat_map(ratios).flatten().fold(1.0_f64, f64::max).ln().max(0.1);
    for row in rows {
        let _ = writeln!(body, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>", LEFT - 8, y + 11, row.title);
        for ((ratio, turns), colour) in ratios(row).into_iter().zip(&row.turns).zip(COLOURS.iter().cycle()) {
            let (Some(ratio), Some(median)) = (ratio, median(turns)) else { continue };
            // Logarithmic, from a third of the reference.
            let width = ((ratio.ln() + 1.1) / (largest + 1.1) * WIDTH as f64).max(1.0);
            let _ = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>\
                 <text x=\"{:.1}\" y=\"{}\">{median:.2} ms, × {ratio:.2}</text>",
                BAR - 2,
                LEFT as f64 + width + 4.0,
                y + 11,
            );
            y += BAR;
        }
        y += BAR / 2;
    }
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{y}\" font-family=\"sans-serif\" font-size=\"11\">\
         \n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>",
        LEFT + WIDTH + 140,
    );
    for (n, (contestant, colour)) in contestants.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let x = LEFT + n * 110;
        let _ = writeln!(
            svg,
            "<rect x=\"{x}\" y=\"12\" width=\"12\" height=\"12\" fill=\"{colour}\"/><text x=\"{}\" y=\"22\">{}</text>",
            x + 16,
            contestant.name
        );
    }
    svg + &body + "</svg>\n"
}

fn ratios(row: &Row) -> Vec<Option<f64>> {
    let reference = reference(row);
    row.turns.iter().map(|turns| median(turns).map(|median| median / reference)).collect()
}

/// The first median that there is.
fn reference(row: &Row) -> f64 {
    row.turns.iter().find_map(|turns| median(turns)).unwrap_or(1.0)
}

fn median(turns: &[Option<Duration>]) -> Option<f64> {
    let times = sorted(turns);
    times.get(times.len() / 2).copied()
}

/// In milliseconds, without the turns that hung.
fn sorted(turns: &[Option<Duration>]) -> Vec<f64> {
    let mut times: Vec<f64> = turns.iter().flatten().map(|took| took.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    times
}
