//! One table: who is measured, what each has to show beforehand, and what is promised of ours.

use std::fmt::Display;
use std::hint::black_box;
use std::sync::Arc;

use crate::harness::{Contender, compare, verdict};
use crate::process::Process;

/// Somebody who is measured, once the gate has let them in.
pub(crate) struct Entrant<'a> {
    contender: Contender<'a>,
    gate: Gate<'a>,
    process: Option<Arc<Process>>,
}

/// Sees to it that the work is done right; says how many allocations it took, where they are
/// counted.
type Gate<'a> = Box<dyn Fn() -> Result<Option<u64>, String> + 'a>;

impl<'a> Entrant<'a> {
    /// Runs `run`, which `right` looks over beforehand.
    pub(crate) fn new<T, E: Display>(
        name: &str,
        run: impl Fn() -> Result<T, E> + Send + Sync + 'a,
        right: impl Fn(T) -> bool + 'a,
    ) -> Self {
        let run = Arc::new(run);
        let again = Arc::clone(&run);
        let gate = move || {
            let result = run().map_err(|error| error.to_string())?;
            if !right(result) {
                return Err("another result than it should have".to_owned());
            }
            Ok(allocations(|| drop(run())))
        };
        let work = move || {
            // By reference, as `Contender::new` looks at it.
            if let Err(error) = black_box(&again()) {
                panic!("{error}");
            }
        };
        Self::guarded(Contender::new(name, work), gate)
    }

    /// Does the work of `contender` when `gate` finds nothing amiss.
    pub(crate) fn guarded(
        contender: Contender<'a>,
        gate: impl Fn() -> Result<Option<u64>, String> + 'a,
    ) -> Self {
        Self {
            contender,
            gate: Box::new(gate),
            process: None,
        }
    }

    /// A peer in another language, in the table under that name.
    pub(crate) fn process(name: &str, process: Process) -> Self {
        let process = Arc::new(process);
        let (runs, checks) = (Arc::clone(&process), Arc::clone(&process));
        Self {
            contender: Contender::elsewhere(name, move |tokens| runs.run(tokens)),
            gate: Box::new(move || checks.check().map(|()| None)),
            process: Some(process),
        }
    }

    /// The ratio to the floor that it must not exceed.
    pub(crate) fn at_most(mut self, budget: f64) -> Self {
        self.contender = self.contender.at_most(budget);
        self
    }
}

/// How often one runs and the allocations of that; `None` unless they are counted.
#[cfg_attr(not(feature = "allocations"), expect(unused_variables))]
pub(crate) fn allocations(run: impl FnOnce()) -> Option<u64> {
    #[cfg(feature = "allocations")]
    return Some(allocation_counter::measure(run).count_total);
    #[cfg(not(feature = "allocations"))]
    None
}

/// Ours beside theirs.
struct Pair {
    ours: &'static str,
    theirs: String,
    at_least: Option<f64>,
}

pub(crate) struct Table<'a> {
    title: String,
    entrants: Vec<Entrant<'a>>,
    absent: Vec<String>,
    pairs: Vec<Pair>,
}

impl<'a> Table<'a> {
    pub(crate) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            entrants: Vec::new(),
            absent: Vec::new(),
            pairs: Vec::new(),
        }
    }

    /// The first to enter is the floor.
    pub(crate) fn enter(&mut self, entrant: Entrant<'a>) {
        self.entrants.push(entrant);
    }

    /// Enters a process, or says why there is none.
    pub(crate) fn enter_process(&mut self, name: &str, process: Result<Process, String>) {
        match process {
            Ok(process) => self.enter(Entrant::process(name, process)),
            Err(why) => self.absent.push(format!("{name}: not measured: {why}")),
        }
    }

    /// Reports how many times as fast as `theirs` `ours` is, and what is promised of that.
    pub(crate) fn pair(&mut self, ours: &'static str, theirs: &str, at_least: Option<f64>) {
        self.pairs.push(Pair {
            ours,
            theirs: theirs.to_owned(),
            at_least,
        });
    }

    /// Lets in whoever does the work right, and measures them unless only that was asked for.
    /// Whether everybody did, and, where `required`, everybody was there.
    pub(crate) fn settle(mut self, check_only: bool, required: bool) -> bool {
        let names = |all: &[Entrant<'_>]| -> Vec<String> {
            let names = all.iter().map(|it| it.contender.name().to_owned());
            names.collect()
        };
        let before = names(&self.entrants);
        if check_only {
            println!("\n{}", self.title);
        }
        self.entrants.retain(|entrant| {
            let name = entrant.contender.name();
            match (entrant.gate)() {
                Ok(counted) => {
                    if check_only {
                        let counted = counted.map_or_else(String::new, |it| format!("{it:>5}"));
                        println!("{name:<44} right{counted}");
                    }
                    true
                }
                Err(why) => {
                    println!("{name:<44} WRONG: {why}");
                    false
                }
            }
        });
        let after = names(&self.entrants);
        let right = after == before;
        // Without its floor a table says nothing.
        if !check_only && after.first() == before.first() {
            self.measure();
        }
        for line in &self.absent {
            println!("{line}");
        }
        right && (self.absent.is_empty() || !required)
    }

    fn measure(&mut self) {
        for process in self.entrants.iter().filter_map(|it| it.process.as_ref()) {
            process.warm_up();
        }
        let entrants = self.entrants.drain(..);
        let contenders: Vec<_> = entrants.map(|entrant| entrant.contender).collect();
        let figures = compare(&self.title, &contenders);
        let find = |name: &str| figures.iter().find(|it| it.name == name);
        println!("\n{:<84} {:>9} {:>9}", self.title, "times", "budget");
        for pair in &self.pairs {
            let (Some(ours), Some(theirs)) = (find(pair.ours), find(&pair.theirs)) else {
                continue;
            };
            let times = theirs.times(ours);
            let verdict = pair.at_least.map_or_else(String::new, |budget| {
                format!("{budget:>9.1} {}", verdict(times >= budget))
            });
            let line = format!("{}, faster than {}", pair.ours, pair.theirs);
            println!("{line:<84} {times:>9.2} {verdict}");
        }
    }
}
