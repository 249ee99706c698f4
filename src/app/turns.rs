//! Long work in small steps: between them others get their turn, and it is seen whether anybody still waits for the result.
//!
//! Invariant: work whose caller has gone or whose deadline has passed is dropped at the next turn, with everything before it as it was.

/// Items that are worked on before others get their turn.
const ITEMS_PER_TURN: usize = 32;

/// Lets others have their turn before every 32nd item; `at` counts from 0.
pub async fn take_turns(at: usize) {
    if at % ITEMS_PER_TURN == ITEMS_PER_TURN - 1 {
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn every_32nd_item_lets_others_have_their_turn() {
        let pauses = (0..128).filter(|at| take_turns(*at).now_or_never().is_none());
        assert_eq!(pauses.count(), 4);
    }
}
