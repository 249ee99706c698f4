//! Finding again what entries name: experiments, tables and send-time models, each checked against its name.
//!
//! Invariant: what is answered has exactly the content that its name says.
use std::collections::HashMap;
use std::sync::Arc;

use crate::app::{App, HOME};
use crate::domain::content_id::ContentId;
use crate::domain::decision_log::LoggedTable;
use crate::domain::experiment::Experiment;
use crate::domain::send_time::SendTimeModel;
use crate::domain::snapshot::Table;
use crate::store::records::{self, Record, key};
use crate::store::{Bytes, StoreError};

/// Things kept in memory while a log is read; with more of them it starts anew.
const KEPT_MAX: usize = 4_096;

/// A table as logged, and as made again.
pub(super) struct TwoTables {
    pub logged: LoggedTable,
    pub remade: Option<Table>,
}

/// Things found while a log is read.
#[derive(Default)]
pub(super) struct Shelf {
    experiments: HashMap<ContentId, Arc<Experiment>>,
    tables: HashMap<ContentId, Arc<TwoTables>>,
    models: HashMap<ContentId, Arc<SendTimeModel>>,
}

impl Shelf {
    pub(super) async fn experiment(
        &mut self,
        app: &App,
        day: i32,
        id: ContentId,
    ) -> Result<Arc<Experiment>, StoreError> {
        if let Some(found) = self.experiments.get(&id) {
            return Ok(found.clone());
        }
        let read: Arc<Experiment> = Arc::new(records::decode(&app.ground(day, id).await?)?);
        Ok(kept(&mut self.experiments, id, read))
    }

    pub(super) async fn table(
        &mut self,
        app: &App,
        day: i32,
        id: ContentId,
    ) -> Result<Arc<TwoTables>, StoreError> {
        if let Some(found) = self.tables.get(&id) {
            return Ok(found.clone());
        }
        let logged: LoggedTable = records::decode(&app.ground(day, id).await?)?;
        let remade = logged.remade();
        let both = Arc::new(TwoTables { logged, remade });
        Ok(kept(&mut self.tables, id, both))
    }

    pub(super) async fn model(
        &mut self,
        app: &App,
        day: i32,
        id: ContentId,
    ) -> Result<Arc<SendTimeModel>, StoreError> {
        if let Some(found) = self.models.get(&id) {
            return Ok(found.clone());
        }
        let read: Arc<SendTimeModel> = Arc::new(records::decode(&app.ground(day, id).await?)?);
        Ok(kept(&mut self.models, id, read))
    }
}

fn kept<T>(shelf: &mut HashMap<ContentId, Arc<T>>, id: ContentId, thing: Arc<T>) -> Arc<T> {
    if shelf.len() >= KEPT_MAX {
        shelf.clear();
    }
    shelf.insert(id, thing.clone());
    thing
}

impl App {
    /// The bytes of this name; errors when they are not there, or when they do not fit it.
    async fn ground(&self, day: i32, id: ContentId) -> Result<Bytes, StoreError> {
        let missing = |what: String| StoreError::Corrupt {
            what,
            place: format!("{} {id}", LoggedTable::NAME),
        };
        let stored = self.engine.read(HOME, &key::ground(day, id)).await?;
        let value = stored
            .ok_or_else(|| missing("is not in the store".to_owned()))?
            .value;
        if ContentId::of(&value) == id {
            Ok(value)
        } else {
            Err(missing("does not have the content of its name".to_owned()))
        }
    }
}
