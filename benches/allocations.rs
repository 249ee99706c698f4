//! Allocations per answer, counted: `cargo bench --bench allocations`.
//!
//! The use cases in process on the engine in memory, with one person and one experiment asked again and again, so that what is counted is the answer
//! itself and not the growth of a store. Counts are exact and the same on every machine; what gRPC allocates comes on top and is not counted here.
use std::alloc::{GlobalAlloc, Layout, System};
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hermod::app::{Constraints, PredictRequest, VirtualClock};
use hermod::bench::world::{campaign, request};
use hermod::domain::name::{Slug, TenantId};
use hermod::domain::send_time::Goal;
use hermod::ops::compose::{Opened, open_app};
use hermod::ops::config::{Config, Engine};

/// Answers that are counted, after as many that are not.
const ANSWERS: u64 = 2_000;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);

/// The system's allocator, counted.
struct Counted;

// SAFETY: every call is handed on as it is.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as required of the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as required of the caller.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut config = Config::default();
    config.store.engine = Engine::Memory;
    config.decisions.seed = Some(1);
    let clock = Arc::new(VirtualClock::at("2026-03-02T08:00:00Z".parse()?));
    println!("{:<44} {:>12} {:>10}", "answer", "allocations", "bytes");
    for log in [false, true] {
        config.decision_log.enabled = log;
        let Opened { app, .. } = runtime.block_on(open_app(&config, clock.clone()))?;
        let id = Slug::parse("autumn")?;
        let names = ["plain", "question", "name", "number"].map(Slug::parse);
        let variants: Vec<Slug> = names.into_iter().collect::<Result<_, _>>()?;
        runtime.block_on(app.create_experiment(campaign(&id, &variants)))?;
        runtime.block_on(app.start_experiment(TenantId::DEFAULT, &id))?;
        app.refresh();
        let with = if log { ", decision log" } else { "" };
        let mut request = request(&id);
        counted(&format!("decide, recorded{with}"), |number| {
            request.recipient_id = format!("person-{number}");
            runtime.block_on(app.decide(&request)).map(drop)
        })?;
        request.validate_only = true;
        counted(&format!("decide, validate_only{with}"), |_| {
            runtime.block_on(app.decide(&request)).map(drop)
        })?;
        let predict = PredictRequest {
            tenant: TenantId::DEFAULT,
            recipient_id: "person-1".to_owned(),
            experiment: None,
            zone: None,
            constraints: Constraints::default(),
            goal: Goal::default(),
            full: false,
        };
        counted(&format!("predict a send time{with}"), |_| {
            runtime.block_on(app.predict_send_time(&predict)).map(drop)
        })?;
    }
    Ok(())
}

/// Counts what so many answers allocate, after as many to warm up.
fn counted<E: Error + 'static>(
    name: &str,
    mut answer: impl FnMut(u64) -> Result<(), E>,
) -> Result<(), Failure> {
    for number in 0..ANSWERS {
        answer(number)?;
    }
    let before = (
        ALLOCATIONS.load(Ordering::Relaxed),
        BYTES.load(Ordering::Relaxed),
    );
    for number in ANSWERS..2 * ANSWERS {
        answer(number)?;
    }
    let per_answer = |now: u64, before: u64| (now - before) as f64 / ANSWERS as f64;
    println!(
        "{name:<44} {:>12.1} {:>10.0}",
        per_answer(ALLOCATIONS.load(Ordering::Relaxed), before.0),
        per_answer(BYTES.load(Ordering::Relaxed), before.1)
    );
    Ok(())
}
