//! Every place where bytes come in from outside, fuzzed a little; `cargo bench --bench fuzz` goes on for as long as it is told.

#[path = "../../benches/fuzz/harness.rs"]
mod harness;

use harness::doors::Door;
use harness::files::Samples;

#[test]
fn no_door_panics_or_takes_what_it_should_not() {
    let samples = Samples::new();
    for door in Door::ALL {
        let mut tried = 0;
        for seed in 1_000..1_002 {
            let played = door.round(&samples, seed, 120, &mut |_| tried += 1);
            assert!(played > 0);
        }
        assert!(tried >= 240, "{}: {tried}", door.name());
    }
}

#[test]
fn longer_histories_of_decisions_events_and_erasures_keep_the_sums() {
    let samples = Samples::new();
    // The last one answers a mail before it has left.
    for seed in [1, 2, 3, 4, 5, 6, 61] {
        let played = Door::Events.round(&samples, seed, 600, &mut |_| {});
        assert_eq!(played, 600);
    }
}
