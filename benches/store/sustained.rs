//! Events for as long as is asked, and what waits to be folded meanwhile: `cargo bench --bench store -- --sustained 600`.
//!
//! Stretches of events at one rate follow one another. Before each of them decisions are made to report on, as fast as they are answered, which is
//! more work for the store and not part of the rate. What waits is read from the server's own metrics after each stretch.
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use hermod::bench::Spread;
use hermod::bench::calls::serving;
use hermod::bench::drive::Load;
use hermod::bench::method::{BATCH_ITEMS, Method};
use hermod::bench::process::Process;

use super::{Bench, Failure, in_memory, program};

/// Length of a stretch, seconds.
const STRETCH_SECONDS: f64 = 10.0;
const MIB: f64 = (1 << 20) as f64;

/// What a stretch came to.
struct Stretch {
    ended_at_seconds: f64,
    per_second: f64,
    p99_us: f64,
    unfolded_bytes: f64,
    journal_bytes: f64,
    stored_bytes: f64,
}

/// Drives a filled server, and prints a row a stretch and what became of the backlog.
pub fn run(bench: &Bench, seconds: f64, rate: f64) -> Result<(), Failure> {
    let world = bench.filled_world()?;
    let operations = free_address()?;
    let settings = [
        format!("server.operations_listen={operations}"),
        in_memory(),
    ];
    let server = Process::start(&program(), "hermod", &serving(&world.directory, &settings))?;
    println!(
        "{:>8} {:>12} {:>10} {:>14} {:>12} {:>10}",
        "second", "events/s", "p99 ms", "unfolded MiB", "journal MiB", "disk MiB"
    );
    let (begun, mut stretches) = (Instant::now(), Vec::new());
    while begun.elapsed().as_secs_f64() < seconds {
        let load = Load::Open {
            per_second: rate / f64::from(BATCH_ITEMS),
        };
        let seed = stretches.len() as u64;
        let measured = bench.drive_for(&server, Method::Report, load, STRETCH_SECONDS, seed)?;
        let metrics = scraped(operations)?;
        let stretch = Stretch {
            ended_at_seconds: begun.elapsed().as_secs_f64(),
            per_second: measured.per_second,
            p99_us: measured.p99_us,
            unfolded_bytes: gauge(&metrics, "hermod_store_unfolded_bytes")?,
            journal_bytes: gauge(&metrics, "hermod_store_journal_bytes")?,
            stored_bytes: gauge(&metrics, "hermod_store_bytes")?,
        };
        print_row(&stretch);
        stretches.push(stretch);
    }
    server.stop()?;
    print!("{}", summary(&stretches));
    Ok(())
}

fn print_row(stretch: &Stretch) {
    println!(
        "{:>8.0} {:>12.0} {:>10.1} {:>14.1} {:>12.1} {:>10.0}",
        stretch.ended_at_seconds,
        stretch.per_second,
        stretch.p99_us / 1e3,
        stretch.unfolded_bytes / MIB,
        stretch.journal_bytes / MIB,
        stretch.stored_bytes / MIB,
    );
}

fn summary(stretches: &[Stretch]) -> String {
    let third = stretches.len() / 3;
    let unfolded = |of: &[Stretch]| Spread::of(of.iter().map(|stretch| stretch.unfolded_bytes));
    let first = unfolded(stretches.get(..third).unwrap_or_default());
    let last = unfolded(stretches.get(stretches.len() - third..).unwrap_or_default());
    let rates = Spread::of(stretches.iter().map(|stretch| stretch.per_second));
    let shown = |spread: &Spread| {
        let [median, low, high] = [spread.median, spread.low, spread.high].map(|bytes| bytes / MIB);
        format!("{median:.1} [{low:.1}, {high:.1}]")
    };
    format!(
        "\nevents a second {:.0} [{:.0}, {:.0}]; MiB that waited to be folded: {} in the first third, {} in the last\n",
        rates.median,
        rates.low,
        rates.high,
        shown(&first),
        shown(&last)
    )
}

/// An address that nobody listens on just now.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn scraped(address: SocketAddr) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn gauge(metrics: &str, name: &str) -> Result<f64, Failure> {
    let value = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.ok_or_else(|| format!("{name} is not among the metrics"))?;
    Ok(value.trim().parse()?)
}
