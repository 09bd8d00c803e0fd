//! The table, the figures for programs, and the plot.

use std::fmt::Write;
use std::time::Duration;

use super::workload::Contestant;

/// One workload's figures, of every contestant in its order.
pub struct Row {
    pub title: String,
    /// Whether the machine was quiet when it began.
    pub was_quiet: bool,
    pub figures: Vec<Figures>,
}

/// What a contestant's turns come to.
pub struct Figures {
    /// Median and minimum in milliseconds, unless every turn hung or there was none.
    times: Option<(f64, f64)>,
    hung: usize,
}

impl Figures {
    /// Of turns that took a time, or hung.
    pub fn of(turns: &[Option<Duration>]) -> Figures {
        let mut times: Vec<f64> = turns.iter().flatten().map(|took| took.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let median = times.get(times.len() / 2).copied();
        Figures { times: median.zip(times.first().copied()), hung: turns.len() - times.len() }
    }

    fn median(&self) -> Option<f64> {
        self.times.map(|(median, _)| median)
    }
}

impl Row {
    /// Title, whether it was quiet, and for each contestant median, minimum and number of hangs, tab-separated.
    pub fn line(&self, digits: usize) -> String {
        let mut line = format!("{}\t{}", self.title, if self.was_quiet { "quiet" } else { "loud" });
        for Figures { times, hung } in &self.figures {
            let _ = match times {
                Some((median, least)) => write!(line, "\t{median:.digits$}\t{least:.digits$}\t{hung}"),
                None => write!(line, "\t–\t–\t{hung}"),
            };
        }
        line
    }

    /// What `line` has made.
    pub fn parse(line: &str) -> Option<Row> {
        let mut words = line.split('\t');
        let (title, was_quiet) = (words.next()?.to_owned(), words.next()? == "quiet");
        let mut figures = Vec::new();
        while let Some(median) = words.next() {
            let least = words.next()?;
            let times = if median == "–" { None } else { Some((median.parse().ok()?, least.parse().ok()?)) };
            figures.push(Figures { times, hung: words.next()?.parse().ok()? });
        }
        Some(Row { title, was_quiet, figures })
    }
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
    for Figures { times, hung } in &row.figures {
        match times {
            Some((median, least)) => print!("{median:>10.2}{least:>9.2}{:>7.2}", median / reference),
            None => print!("{:>26}", "–"),
        }
        if *hung > 0 {
            print!(" ({hung} hung)");
        }
    }
    println!("{}", if row.was_quiet { "" } else { "  (not quiet)" });
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
        let title = escaped(&row.title);
        let _ = writeln!(body, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{title}</text>", LEFT - 8, y + 11);
        for ((ratio, figures), colour) in ratios(row).into_iter().zip(&row.figures).zip(COLOURS.iter().cycle()) {
            let (Some(ratio), Some(median)) = (ratio, figures.median()) else { continue };
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
            escaped(&contestant.name)
        );
    }
    svg + &body + "</svg>\n"
}

/// As text of XML, of an element or an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn ratios(row: &Row) -> Vec<Option<f64>> {
    let reference = reference(row);
    row.figures.iter().map(|figures| figures.median().map(|median| median / reference)).collect()
}

/// The first median that there is.
fn reference(row: &Row) -> f64 {
    row.figures.iter().find_map(Figures::median).unwrap_or(1.0)
}
