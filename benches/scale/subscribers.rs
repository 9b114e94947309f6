//! What it costs the actor that others want to know of a new token.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use midil_auth::oauth2::TokenChanges;
use midil_auth::{Auth, TokenHandle};
use tokio::runtime::Runtime;

use crate::harness::{cpu_time, quantile};
use crate::measure::{acquire, runtime, start};
use crate::plot::Line;
use crate::{briefly, picture};
use plotters::prelude::IntoLogRange;

const ROUNDS: usize = 61;

/// How a subscriber learns of a new token.
#[derive(Clone, Copy)]
enum Way {
    /// It has a handle and reads when it needs a token.
    Reads,
    /// It awaits the next token of the credential.
    Awaits,
    /// It awaits every event.
    Listens,
}

const WAYS: [(&str, Way); 3] = [
    ("hold a handle", Way::Reads),
    ("await changes()", Way::Awaits),
    ("await events()", Way::Listens),
];

/// An actor on this thread and subscribers on another one.
struct Side {
    actor: Runtime,
    _auth: Auth,
    next: TokenChanges,
    /// Who only reads.
    _readers: Vec<TokenHandle>,
    awaiting: u64,
    woken: Arc<AtomicU64>,
    told: u64,
}

impl Side {
    fn new(way: Way, n: usize, others: &Runtime) -> Self {
        let actor = runtime();
        let (auth, _clock) = actor.block_on(start());
        let mut tokens = actor.block_on(acquire(&auth, &briefly(), 1));
        let token = tokens.pop().expect("one");
        let woken = Arc::new(AtomicU64::new(0));
        let ready = Arc::new(AtomicU64::new(0));
        let mut readers = Vec::new();
        for _ in 0..n {
            let (woken, ready) = (Arc::clone(&woken), Arc::clone(&ready));
            match way {
                Way::Reads => readers.push(token.clone()),
                Way::Awaits => {
                    let mut changes = token.changes();
                    others.spawn(async move {
                        ready.fetch_add(1, Ordering::SeqCst);
                        while changes.next().await.is_some() {
                            woken.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
                Way::Listens => {
                    let mut events = auth.events();
                    others.spawn(async move {
                        ready.fetch_add(1, Ordering::SeqCst);
                        while events.recv().await.is_ok() {
                            woken.fetch_add(1, Ordering::SeqCst);
                        }
                    });
                }
            }
        }
        let awaiting = if readers.is_empty() { n as u64 } else { 0 };
        wait_for(&ready, awaiting);
        Self {
            actor,
            _auth: auth,
            next: token.changes(),
            _readers: readers,
            awaiting,
            woken,
            told: 0,
        }
    }

    /// One refresh; its CPU time on this thread, in microseconds.
    fn refresh(&mut self) -> f64 {
        let before = cpu_time();
        let token = self.actor.block_on(self.next.next());
        let took = cpu_time() - before;
        token.expect("a token");
        // All are to be asleep again before the next one.
        self.told += self.awaiting;
        wait_for(&self.woken, self.told);
        took as f64 / 1_000.0
    }
}

fn wait_for(count: &AtomicU64, expected: u64) {
    while count.load(Ordering::SeqCst) < expected {
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(Duration::from_micros(200));
}

pub(crate) fn measure() {
    let sizes = [1, 10, 100, 1_000, 10_000];
    let others = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    println!(
        "\n{:>12} {:>18} {:>18} {:>18}",
        "subscribers", WAYS[0].0, WAYS[1].0, WAYS[2].0
    );
    let mut lines = WAYS.map(|(name, _)| Line::new(name, Vec::new()));
    let mut sides: Vec<_> = sizes
        .iter()
        .flat_map(|&n| WAYS.map(|(_, way)| Side::new(way, n, &others)))
        .collect();
    let mut samples = vec![Vec::new(); sides.len()];
    let mut order: Vec<usize> = (0..sides.len()).collect();
    for _ in 0..ROUNDS {
        fastrand::shuffle(&mut order);
        for &index in &order {
            samples[index].push(sides[index].refresh());
        }
    }
    for (&n, samples) in sizes.iter().zip(samples.chunks(WAYS.len())) {
        print!("{n:>12}");
        for (line, samples) in lines.iter_mut().zip(samples) {
            let micros = quantile(samples, 0.5);
            print!(" {micros:>15.1} µs");
            line.points.push((n as f64, micros));
        }
        println!();
    }
    picture(
        "subscribers",
        "CPU of one refresh, publishing included, at the actor",
        "subscribers",
        "µs",
    )
    .draw(
        (0.8..12_500.0).log_scale(),
        (1.0..20_000.0).log_scale(),
        &lines,
    );
}
