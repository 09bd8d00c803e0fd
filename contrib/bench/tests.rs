//! The benchmark with `hanging` in the place of two runtimes.

use std::fs;
use std::path::PathBuf;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A stage of its own, gone at its end.
struct Theatre(Options);

impl Theatre {
    /// `hangs`: the command of the first runtime that never ends, and with how many containers.
    fn new(hangs: &str) -> Theatre {
        static WATCHED: Once = Once::new();
        static COUNT: AtomicU32 = AtomicU32::new(0);
        WATCHED.call_once(|| drop(thread::spawn(workload::watch)));
        let name = format!("coracle-bench-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let state = std::env::temp_dir().join(name);
        fs::create_dir_all(state.join("1")).unwrap();
        fs::write(state.join("1/hangs"), format!("{hangs}\n")).unwrap();
        let runtime = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/bench/hanging");
        let line = format!("--rounds 2 --idle 0 --state {} --floor /bin/true a={runtime} b={runtime}", state.display());
        Theatre(parse(line.split(' ').map(str::to_owned)).unwrap())
    }

    /// For each contestant, how many turns had a time, and how many hung.
    fn turns(&self, workload: Workload) -> Vec<(usize, usize)> {
        let count = |turns: Vec<Option<Duration>>| (turns.iter().flatten().count(), turns.len());
        let turns = measure(&self.0, workload).unwrap_or_else(|error| panic!("{error}"));
        turns.into_iter().map(count).map(|(timed, all)| (timed, all - timed)).collect()
    }

    /// How many containers of both runtimes there are.
    fn containers(&self) -> usize {
        let directories = |runtime| -> Vec<PathBuf> {
            let entries = fs::read_dir(self.0.stage.state.join(runtime)).unwrap();
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()).collect()
        };
        directories("1").len() + directories("2").len()
    }
}

impl Drop for Theatre {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0.stage.state);
    }
}

#[test]
fn measure_gives_each_round_a_time() {
    let theatre = Theatre::new("nothing 0");
    for workload in Workload::ALL {
        let all = (workload.rounds(2), 0);
        let floor = if workload.has_floor() { all } else { (0, 0) };
        assert_eq!(theatre.turns(workload), [floor, all, all], "{}", workload.title());
        assert_eq!(theatre.containers(), 0, "{}", workload.title());
    }
}

#[test]
fn measure_counts_a_hang_of_any_step_and_goes_on() {
    // What hangs, how many turns have a time then and how many hung, that of the first round among them, and what is left.
    let table = [
        ("run 0", Workload::Run, (0, 3), 0),
        ("run 0", Workload::Eight, (0, 2), 0),
        ("create 0", Workload::Create, (0, 3), 0),
        ("create 0", Workload::Start, (0, 3), 0),
        ("create 0", Workload::Delete, (0, 3), 0),
        ("start 0", Workload::Start, (0, 3), 0),
        ("start 0", Workload::Exec, (0, 3), 0),
        ("kill 0", Workload::Delete, (0, 3), 0),
        ("state 0", Workload::Delete, (0, 3), 0),
        // Once for all rounds.
        ("create 3", Workload::List, (0, 1), 0),
        ("list 0", Workload::List, (0, 2), 0),
        // What cannot be removed is in no other turn's way; the script tries again.
        ("delete 0", Workload::State, (0, 3), 3),
        ("delete 1", Workload::List, (1, 1), 100),
    ];
    thread::scope(|scope| {
        for (hangs, workload, counts, left) in table {
            scope.spawn(move || {
                let what = format!("{} where {hangs} hangs", workload.title());
                let theatre = Theatre::new(hangs);
                let turns = theatre.turns(workload);
                assert_eq!(turns[1..], [counts, (workload.rounds(2), 0)], "{what}");
                assert_eq!(theatre.containers(), left, "{what}");
            });
        }
    });
}

#[test]
fn measure_ends_with_the_error_of_a_step() {
    let mut theatre = Theatre::new("nothing 0");
    theatre.0.contestants[1].program = "/bin/false".into();
    for workload in Workload::ALL {
        let error = measure(&theatre.0, workload).unwrap_err();
        assert!(
            error.starts_with(&format!("{}: a: ", workload.title())) && error.contains("exit status: 1"),
            "{error}"
        );
    }
}

fn contestants(names: &[&str]) -> Vec<Contestant> {
    let of =
        |(number, name): (usize, &&str)| Contestant { name: (*name).into(), number, program: "".into(), floor: false };
    names.iter().enumerate().map(of).collect()
}

#[test]
fn plot_of_hostile_names_is_text() {
    let figures = || Figures::of(&[Some(Duration::from_millis(2))]);
    let rows = [Row { title: "a&b".into(), was_quiet: true, figures: vec![figures(), figures()] }];
    let svg = report::plot(&contestants(&["<a href=\"&\">", "plain"]), &rows);
    assert!(svg.contains(">&lt;a href=&quot;&amp;&quot;&gt;</text>"), "{svg}");
    assert!(svg.contains(">plain</text>") && svg.contains(">a&amp;b</text>"), "{svg}");
    assert_eq!(svg.matches("<rect x=").count(), 4, "{svg}");
}

#[test]
fn figures_of_turns_leave_out_those_that_hung() {
    let turn = |ms| Some(Duration::from_millis(ms));
    let row = |turns: &[Option<Duration>]| {
        Row { title: "run, 1000".into(), was_quiet: false, figures: vec![Figures::of(&[]), Figures::of(turns)] }.line(2)
    };
    assert_eq!(row(&[turn(3), None, turn(1), turn(2)]), "run, 1000\tloud\t–\t–\t0\t2.00\t1.00\t1");
    assert_eq!(row(&[None, None]), "run, 1000\tloud\t–\t–\t0\t–\t–\t2");
    for line in [row(&[turn(3), None]), row(&[])] {
        assert_eq!(Row::parse(&line).unwrap().line(2), line);
    }
    for line in ["", "run", "run\tquiet\t1", "run\tquiet\t1\t1\tx", "run\tquiet\tx\t1\t0"] {
        assert!(Row::parse(line).is_none(), "{line}");
    }
}

#[test]
fn bench_draws_rows_of_the_record_and_its_own() {
    let mut theatre = Theatre::new("nothing 0");
    let (svg, record) = (theatre.0.stage.state.join("svg"), theatre.0.stage.state.join("record"));
    theatre.0.svg = Some(svg.clone());
    theatre.0.record = Some(record.clone());
    theatre.0.only = vec!["run".into()];
    theatre.0.patience = Duration::ZERO;
    bench(&theatre.0).unwrap();
    theatre.0.suffix = ", 1000 mounts".into();
    bench(&theatre.0).unwrap();
    let drawn = fs::read_to_string(svg).unwrap();
    assert!(drawn.contains(">run</text>") && drawn.contains(">run, 1000 mounts</text>"), "{drawn}");
    assert_eq!(drawn.matches(" ms, ×").count(), 6, "{drawn}");
    fs::write(record, "nonsense\n").unwrap();
    assert!(bench(&theatre.0).unwrap_err().ends_with("no row: nonsense"));
}
