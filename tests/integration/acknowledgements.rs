//! What is acknowledged rests on nothing that a power cut could still take: on an engine whose flush the test holds back.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use hermod::app::{
    Activity, App, AppKeys, EventReport, RecipientChange, ReportOutcome, VirtualClock,
};
use hermod::domain::draws::Seed;
use hermod::domain::event::HumanWeight;
use hermod::domain::name::TenantId;
use hermod::domain::token::{TokenKey, TokenKeys};
use hermod::ops::compose::app_settings;
use hermod::ops::config::Config;
use hermod::store::records::MergeRecords;
use hermod::store::{
    Answer, Batch, Engine, EngineStatistics, MemoryEngine, Outcome, Partition, Rows, Scan,
    Snapshot, StoreError, Stored, Ticket,
};
use tokio::sync::watch;

use crate::server::START;

/// An engine in memory whose commits become durable only while the gate is open.
struct Held {
    inner: MemoryEngine,
    open: watch::Receiver<bool>,
}

impl Held {
    fn once_open<'a>(
        &'a self,
        then: impl Future<Output = Result<(), StoreError>> + Send + 'a,
    ) -> Answer<'a, Result<(), StoreError>> {
        let mut open = self.open.clone();
        Answer::pending(async move {
            open.wait_for(|open| *open).await.unwrap();
            then.await
        })
    }
}

impl Engine for Held {
    fn partitions(&self) -> u16 {
        self.inner.partitions()
    }

    fn read<'a>(
        &'a self,
        partition: Partition,
        key: &'a [u8],
    ) -> Answer<'a, Result<Option<Stored>, StoreError>> {
        self.inner.read(partition, key)
    }

    fn commit<'a>(
        &'a self,
        partition: Partition,
        batch: Batch,
    ) -> Answer<'a, Result<Outcome, StoreError>> {
        self.inner.commit(partition, batch)
    }

    fn scan<'a>(
        &'a self,
        partition: Partition,
        request: Scan,
    ) -> Answer<'a, Result<Rows, StoreError>> {
        self.inner.scan(partition, request)
    }

    fn snapshot<'a>(&'a self) -> Answer<'a, Result<Snapshot, StoreError>> {
        self.inner.snapshot()
    }

    fn durable<'a>(&'a self, ticket: Ticket) -> Answer<'a, Result<(), StoreError>> {
        self.once_open(self.inner.durable(ticket))
    }

    fn flush<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        self.once_open(self.inner.flush())
    }

    fn health(&self) -> Result<(), StoreError> {
        self.inner.health()
    }

    fn statistics(&self) -> EngineStatistics {
        self.inner.statistics()
    }

    fn close<'a>(&'a self) -> Answer<'a, Result<(), StoreError>> {
        self.inner.close()
    }
}

/// The use cases, and the gate.
async fn held() -> (App, watch::Sender<bool>) {
    let (gate, open) = watch::channel(true);
    let engine = Held {
        inner: MemoryEngine::new(2, Arc::new(MergeRecords)),
        open,
    };
    let secret = [7; 32];
    let keys = AppKeys {
        recipient: secret,
        tokens: TokenKeys::new(TokenKey { id: 1, secret }, Vec::new()),
    };
    let clock = Arc::new(VirtualClock::at(START.parse().unwrap()));
    let settings = app_settings(&Config::default());
    let opened = App::open(Arc::new(engine), clock, keys, Seed(secret), settings).await;
    gate.send_replace(false);
    (opened.unwrap().0, gate)
}

/// Polls once: nothing may be answered yet.
fn assert_waits<F: Future>(future: std::pin::Pin<&mut F>) {
    let polled = future.poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "answered before the flush");
}

#[tokio::test]
async fn a_duplicate_waits_for_the_flush_of_the_event_it_repeats() {
    let (app, gate) = held().await;
    let report = || {
        let activity = Activity {
            recipient_id: "ann".into(),
            at: START.parse().unwrap(),
            weight: HumanWeight::CERTAIN,
        };
        app.report(TenantId::DEFAULT, vec![Ok(EventReport::Active(activity))])
    };
    let (mut first, mut again) = (Box::pin(report()), Box::pin(report()));
    assert_waits(first.as_mut());
    assert_waits(again.as_mut());
    gate.send_replace(true);
    assert_eq!(first.await.unwrap(), [Ok(ReportOutcome::Counted)]);
    assert_eq!(again.await.unwrap(), [Ok(ReportOutcome::Duplicate)]);
}

#[tokio::test]
async fn a_repeated_erasure_waits_for_the_flush_of_the_first() {
    let (app, gate) = held().await;
    gate.send_replace(true);
    let change = RecipientChange {
        segments: Some(vec!["gold".into()]),
        ..RecipientChange::default()
    };
    app.update_recipient(TenantId::DEFAULT, "ann", &change)
        .await
        .unwrap();
    gate.send_replace(false);
    let erase = || app.erase_recipient(TenantId::DEFAULT, "ann");
    let (mut first, mut again) = (Box::pin(erase()), Box::pin(erase()));
    assert_waits(first.as_mut());
    assert_waits(again.as_mut());
    gate.send_replace(true);
    assert!(first.await.unwrap().existed);
    assert!(!again.await.unwrap().existed);
}
