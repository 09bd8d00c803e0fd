//! Which requirements have a test.

use crate::requirements::{self, File, Level, Requirement};
use crate::suite::Test;
use crate::verdict::Failure;

/// The table and the tests agree: each clause exists, each requirement has either tests or a reason for having none.
pub fn check(tests: &[Test]) -> Result<(), Failure> {
    let mut wrong = Vec::new();
    for test in tests {
        for clause in test.clauses {
            if !requirements::all().any(|rule| rule.id == *clause) {
                wrong.push(format!("{}: no requirement {clause}", test.id));
            }
        }
        if tests.iter().filter(|other| other.id == test.id).count() > 1 {
            wrong.push(format!("{} exists twice", test.id));
        }
    }
    for rule in requirements::all() {
        match (tested(rule, tests), rule.untested.is_empty()) {
            (true, false) => wrong.push(format!("{} has a test and a reason for having none", rule.id)),
            (false, true) => wrong.push(format!("{} has neither a test nor a reason", rule.id)),
            _ => {}
        }
        if requirements::all().filter(|other| other.id == rule.id).count() > 1 {
            wrong.push(format!("{} exists twice", rule.id));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure(wrong.join("\n"))) }
}

fn tested(rule: &Requirement, tests: &[Test]) -> bool {
    tests.iter().any(|test| test.clauses.contains(&rule.id))
}

/// Counts for each document, then every requirement without a test.
pub fn report(tests: &[Test]) -> String {
    let mut text = String::new();
    for level in [Level::Must, Level::Should] {
        let mut sum = (0, 0);
        for file in File::ALL {
            let rules: Vec<_> = requirements::all().filter(|rule| rule.file == file && rule.level == level).collect();
            let with = rules.iter().filter(|rule| tested(rule, tests)).count();
            let (name, level, of) = (file.name(), level.name(), rules.len());
            text.push_str(&format!("{name:<20} {level:<6} {with} of {of} have a test\n"));
            sum = (sum.0 + with, sum.1 + rules.len());
        }
        let percent = if sum.1 == 0 { 0.0 } else { 100.0 * sum.0 as f64 / sum.1 as f64 };
        text.push_str(&format!(
            "{:<20} {:<6} {} of {} have a test ({percent:.1} %)\n",
            "all",
            level.name(),
            sum.0,
            sum.1
        ));
    }
    text.push_str("\nwithout a test:\n");
    for rule in requirements::all().filter(|rule| !rule.untested.is_empty()) {
        text.push_str(&format!("{rule}\n    {}\n", rule.untested));
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn requirements_and_tests_fit_together() {
        super::check(&crate::areas::all()).unwrap();
    }
}
