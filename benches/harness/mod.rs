//! Measures contenders side by side: thread CPU time, in short slices, in another order every
//! round; what is reported is the median over rounds of each one's ratio to the floor in the same
//! round. Shared machines make wall clocks, and runs minutes apart, lie.

#![allow(dead_code, reason = "each bench uses its part")]

pub(crate) mod signature;

use std::hint::black_box;
use std::sync::Barrier;

use rustix::time::{ClockId, clock_gettime};

/// How long one contender runs in one round, in nanoseconds of CPU time.
const SLICE: u64 = 2_000_000;

/// Rounds, unless `MIDIL_BENCH_ROUNDS` says otherwise.
const ROUNDS: usize = 61;

/// One thing that is measured.
pub(crate) struct Contender<'a> {
    name: String,
    run: Run<'a>,
    budget: Option<f64>,
    threads: usize,
}

/// Who runs it.
enum Run<'a> {
    Here(Box<dyn Fn() + Sync + 'a>),
    /// Another process: told how often, it says how much CPU time that took, in nanoseconds.
    Elsewhere(Box<dyn Fn(u64) -> u64 + Sync + 'a>),
}

impl Run<'_> {
    fn time(&self, batch: u64) -> u64 {
        match self {
            Self::Here(run) => time(&**run, batch),
            Self::Elsewhere(run) => run(batch),
        }
    }
}

impl<'a> Contender<'a> {
    pub(crate) fn new<R>(name: impl Into<String>, run: impl Fn() -> R + Sync + 'a) -> Self {
        Self::of(
            name.into(),
            Run::Here(Box::new(move || {
                // By reference: to move what was only just written would be measured with it.
                let made = run();
                black_box(&made);
            })),
        )
    }

    /// Runs in another process, which is told how often and answers with its CPU time in
    /// nanoseconds.
    pub(crate) fn elsewhere(name: impl Into<String>, run: impl Fn(u64) -> u64 + Sync + 'a) -> Self {
        Self::of(name.into(), Run::Elsewhere(Box::new(run)))
    }

    fn of(name: String, run: Run<'a>) -> Self {
        Self {
            name,
            run,
            budget: None,
            threads: 1,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs on as many threads at the same time.
    pub(crate) fn on(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The ratio to the floor that it must not exceed.
    pub(crate) fn at_most(mut self, budget: f64) -> Self {
        self.budget = Some(budget);
        self
    }
}

/// One contender's figures.
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) nanos: f64,
    pub(crate) ratio: f64,
    pub(crate) p90: f64,
    /// Nanoseconds, round by round.
    rounds: Vec<f64>,
}

impl Figures {
    /// How many times as long as the other one it takes: the median over the rounds.
    pub(crate) fn times(&self, other: &Self) -> f64 {
        let pairs = self.rounds.iter().zip(&other.rounds);
        quantile(&pairs.map(|(a, b)| a / b).collect::<Vec<_>>(), 0.5)
    }
}

/// Compares on one thread.
pub(crate) fn compare(title: &str, contenders: &[Contender<'_>]) -> Vec<Figures> {
    compare_on(title, 1, contenders)
}

/// Compares with as many threads running the same contender at the same time. The first is the
/// floor.
pub(crate) fn compare_on(
    title: &str,
    threads: usize,
    contenders: &[Contender<'_>],
) -> Vec<Figures> {
    let rounds = std::env::var("MIDIL_BENCH_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(ROUNDS);
    let batches: Vec<u64> = contenders.iter().map(|it| calibrate(&it.run)).collect();
    let mut samples = vec![Vec::with_capacity(rounds); contenders.len()];
    let mut order: Vec<usize> = (0..contenders.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &index in &order {
            let (Some(contender), Some(&batch)) = (contenders.get(index), batches.get(index))
            else {
                continue;
            };
            let threads = threads.max(contender.threads);
            samples[index].push(measure(&contender.run, batch, threads));
        }
    }
    let floor = samples[0].clone();
    println!(
        "\n{title}{}",
        if threads > 1 {
            format!(", {threads} threads")
        } else {
            String::new()
        }
    );
    println!(
        "{:<44} {:>11} {:>9} {:>9} {:>9}",
        "", "ns", "ratio", "p90", "budget"
    );
    contenders
        .iter()
        .zip(&samples)
        .map(|(contender, nanos)| {
            let ratios: Vec<f64> = nanos.iter().zip(&floor).map(|(a, b)| a / b).collect();
            let figures = Figures {
                name: contender.name.clone(),
                nanos: quantile(nanos, 0.5),
                ratio: quantile(&ratios, 0.5),
                p90: quantile(&ratios, 0.9),
                rounds: nanos.clone(),
            };
            let against = contender.budget.map_or(String::new(), |budget| {
                format!("{budget:>7.3} {}", verdict(figures.ratio <= budget))
            });
            println!(
                "{:<44} {:>11.1} {:>9.3} {:>9.3}  {against}",
                figures.name, figures.nanos, figures.ratio, figures.p90
            );
            figures
        })
        .collect()
}

pub(crate) const fn verdict(kept: bool) -> &'static str {
    if kept { "kept" } else { "MISSED" }
}

pub(crate) fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = (sorted.len() - 1) as f64 * q;
    sorted[at.round() as usize]
}

/// How often to run in one slice.
fn calibrate(run: &Run<'_>) -> u64 {
    let mut batch = 1;
    loop {
        let took = run.time(batch);
        if took >= SLICE / 4 {
            return (batch * SLICE / took.max(1)).max(1);
        }
        batch *= 2;
    }
}

/// Nanoseconds of CPU time for one run; with several threads, the mean over them.
fn measure(run: &Run<'_>, batch: u64, threads: usize) -> f64 {
    if threads == 1 {
        return run.time(batch) as f64 / batch as f64;
    }
    let start = Barrier::new(threads);
    let total: u64 = std::thread::scope(|scope| {
        let spawned: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    run.time(batch)
                })
            })
            .collect();
        let took = spawned
            .into_iter()
            .map(|thread| thread.join().expect("no panic"));
        took.sum()
    });
    total as f64 / (batch * threads as u64) as f64
}

fn time(run: &dyn Fn(), batch: u64) -> u64 {
    let before = cpu_time();
    for _ in 0..batch {
        run();
    }
    cpu_time() - before
}

/// The CPU time of this thread, in nanoseconds.
pub(crate) fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
