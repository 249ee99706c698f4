//! What the decision log costs per decision: `cargo bench --bench decision_log`, in about a minute.
//!
//! Two stores as a server has them, one with the log and one without, decide about the same recipients; runs come in pairs in the order
//! without, with, with, without, so that a machine that slows down slows both alike. Time is CPU time: that of the thread that decides, and
//! that of the whole process until everything is on the disk and the store is closed. Needs `/proc`.
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use hermod::app::VirtualClock;
use hermod::bench::world::{campaign, request};
use hermod::domain::name::{Slug, TenantId};
use hermod::lab::Estimate;
use hermod::ops::compose::{Opened, open_app};
use hermod::ops::config::{Config, Engine};

/// Measures the cost of the decision log.
#[derive(Parser)]
struct Args {
    /// Pairs of runs on each engine; each is played forth and back.
    #[arg(long, default_value_t = 9)]
    pairs: usize,
    /// Decisions in one run.
    #[arg(long, default_value_t = 10_000)]
    decisions: usize,
    /// What cargo passes to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is asked for.
#[derive(Clone, Copy)]
enum Asked {
    /// A variant; the caller has the time.
    Variant,
    /// A variant and the best time of the next day.
    VariantAndTime,
}

/// One run: on which engine, asking for what, with the log or without.
#[derive(Clone, Copy)]
struct Run {
    engine: Engine,
    asked: Asked,
    log: bool,
    decisions: usize,
}

/// CPU time, nanoseconds.
#[derive(Clone, Copy, Default)]
struct Spent {
    /// By the thread that decides, until the last answer.
    deciding: f64,
    /// By all threads, until the store is closed.
    whole: f64,
}

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    println!(
        "CPU time per decision, {} pairs of runs of {} decisions, fresh recipients; mean [95 % interval]\n",
        args.pairs, args.decisions
    );
    println!(
        "{:<9} {:<17} {:>14} {:>14} {:>26} {:>26}",
        "engine",
        "asked for",
        "without, us",
        "with, us",
        "more while deciding, %",
        "more in all, %"
    );
    for (engine, name) in [(Engine::Memory, "memory"), (Engine::Sled, "sled")] {
        for (asked, what) in [
            (Asked::Variant, "variant"),
            (Asked::VariantAndTime, "variant and time"),
        ] {
            let run = Run {
                engine,
                asked,
                log: false,
                decisions: args.decisions,
            };
            let row = compared(run, args.pairs)?;
            println!("{name:<9} {what:<17} {row}");
        }
    }
    Ok(())
}

/// One row of the table.
fn compared(run: Run, pairs: usize) -> Result<String, Failure> {
    let with = Run { log: true, ..run };
    played(with)?;
    let (mut deciding, mut whole) = (Vec::new(), Vec::new());
    let (mut off_us, mut on_us) = (0.0, 0.0);
    for _ in 0..pairs {
        let (a, b, c, d) = (played(run)?, played(with)?, played(with)?, played(run)?);
        let (off, on) = (a.plus(d), b.plus(c));
        deciding.push(100.0 * (on.deciding / off.deciding - 1.0));
        whole.push(100.0 * (on.whole / off.whole - 1.0));
        let per_decision = 2.0 * (pairs * run.decisions) as f64 * 1e3;
        off_us += off.whole / per_decision;
        on_us += on.whole / per_decision;
    }
    let interval = |values: &[f64]| {
        let Estimate { mean, low, high } = Estimate::over_runs(values);
        let end = |end: Option<f64>| end.map_or_else(|| "-".to_owned(), |end| format!("{end:.1}"));
        format!("{mean:.1} [{}, {}]", end(low), end(high))
    };
    Ok(format!(
        "{off_us:>14.1} {on_us:>14.1} {:>26} {:>26}",
        interval(&deciding),
        interval(&whole)
    ))
}

/// Decides about fresh recipients in a store of its own.
fn played(run: Run) -> Result<Spent, Failure> {
    let directory = tempfile::tempdir()?;
    let mut config = Config::default();
    config.store.engine = run.engine;
    config.store.path = directory.path().join("data");
    config.store.cache_bytes = 64 << 20;
    config.decisions.seed = Some(1);
    config.decision_log.enabled = run.log;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let clock = Arc::new(VirtualClock::at("2026-03-02T08:00:00Z".parse()?));
    let Opened { app, engine, .. } = runtime.block_on(open_app(&config, clock))?;
    let id = Slug::parse("autumn")?;
    let names = ["plain", "question", "name", "number"].map(Slug::parse);
    let variants: Vec<Slug> = names.into_iter().collect::<Result<_, _>>()?;
    runtime.block_on(app.create_experiment(campaign(&id, &variants)))?;
    runtime.block_on(app.start_experiment(TenantId::DEFAULT, &id))?;
    app.refresh();
    let mut request = request(&id);
    if let Asked::Variant = run.asked {
        request.send_at = Some(app.now());
    }
    let (own, all) = (Path::new("/proc/thread-self/schedstat"), spent_by_all()?);
    let before = spent(own)?;
    for recipient in 0..run.decisions {
        request.recipient_id = format!("person-{recipient}");
        let decided = runtime.block_on(app.decide(&request))?;
        std::hint::black_box(decided.decision_id);
    }
    let deciding = spent(own)? - before;
    runtime.block_on(engine.close())?;
    Ok(Spent {
        deciding,
        whole: spent_by_all()? - all,
    })
}

impl Spent {
    fn plus(self, other: Self) -> Self {
        Self {
            deciding: self.deciding + other.deciding,
            whole: self.whole + other.whole,
        }
    }
}

/// CPU time of one thread, nanoseconds.
fn spent(schedstat: &Path) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(schedstat)?;
    let first = text.split_whitespace().next().ok_or("schedstat is empty")?;
    Ok(first.parse()?)
}

/// CPU time of the process, threads that have ended included, nanoseconds.
fn spent_by_all() -> Result<f64, Failure> {
    // Fields 14 and 15 of proc(5), after the name in brackets: ticks of a hundredth of a second.
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    Ok(ticks * 1e7)
}
